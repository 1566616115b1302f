/** The operations that a task issued, numbered and hashed, so that a replay can tell whether it does the same. */

import type { Checkpoint } from "../../gen/midstream/v1/entry_pb.js";
import { Diverged } from "./errors.js";

export type Kind = "drain" | "on" | "once" | "output" | "send" | "start_run" | "step" | "timer" | "wait" | "wait_any";

const FNV_PRIME = 0x100000001b3n;
const FNV_START = 0xcbf29ce484222325n;
const HASH_BYTES = 8;
const MAX_LABEL_BYTES = 160;
const SHOWN = 5;

interface Label {
  readonly text: string;
  readonly kind: Kind;
  readonly checksum: bigint;
}

const labels = new Map<string, Label>();
const MAX_LABELS = 4_096;

function labelOf(kind: Kind, name: string): Label {
  const text = name ? `${kind} ${JSON.stringify(name)}` : kind;
  let label = labels.get(text);
  if (label === undefined) {
    if (labels.size >= MAX_LABELS) labels.clear();
    label = { text, kind, checksum: BigInt(checksumOf(text)) };
    labels.set(text, label);
  }
  return label;
}

/** FNV-1a, 32 bits. */
function checksumOf(text: string): number {
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(text)) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash >>> 0;
}

/** Where the count changed, and what held from there on. */
interface Mark {
  readonly offset: number;
  readonly count: number;
  readonly hash: bigint;
}

/**
 * Counts from 0 in each generation.
 *
 * The hash is over kinds and names, in order. In a checkpoint the last operation's own label follows it: a hash alone
 * could tell a person nothing about the other side.
 */
export class Operations {
  private readonly labels: Label[] = [];
  private hashed = FNV_START;
  private readonly marks: Mark[] = [{ offset: 0, count: 0, hash: FNV_START }];
  private toCheck: Checkpoint[] = [];
  private agreed = { offset: 0, count: 0 };
  private endedAt: number | undefined;
  /** Told of each one that is issued. */
  onIssue: () => void = () => undefined;

  get count(): number {
    return this.labels.length;
  }

  get hash(): Uint8Array {
    const label = new TextEncoder().encode(this.labels.at(-1)?.text ?? "").subarray(0, MAX_LABEL_BYTES);
    const bytes = new Uint8Array(HASH_BYTES + label.length);
    new DataView(bytes.buffer).setBigUint64(0, this.hashed);
    bytes.set(label, HASH_BYTES);
    return bytes;
  }

  /** The next operation's number. */
  issue(kind: Kind, name = ""): number {
    const label = labelOf(kind, name);
    this.labels.push(label);
    this.hashed = BigInt.asUintN(64, (this.hashed ^ label.checksum) * FNV_PRIME);
    this.onIssue();
    return this.labels.length - 1;
  }

  /** Every operation until now was issued by the turns through `offset`. Throws Diverged. */
  turnEnded(offset: number): void {
    if (this.count !== this.marks.at(-1)?.count) this.marks.push({ offset, count: this.count, hash: this.hashed });
    if (this.toCheck.length === 0) return;
    const due = this.toCheck.filter((each) => Number(each.appliedOffset) <= offset);
    this.toCheck = this.toCheck.filter((each) => Number(each.appliedOffset) > offset);
    for (const checkpoint of due) this.compare(checkpoint);
  }

  /** Compares, now or when the turn of that offset has ended. Throws Diverged. */
  check(checkpoint: Checkpoint, appliedOffset: number): void {
    if (Number(checkpoint.appliedOffset) > appliedOffset) this.toCheck.push(checkpoint);
    else this.compare(checkpoint);
  }

  /** The function ended in this offset's turn. Throws Diverged where the log knows it alive at a later one. */
  functionEnded(offset: number): void {
    this.endedAt = offset;
    this.turnEnded(offset);
    const alive = this.toCheck[0];
    if (alive !== undefined) this.diverge(alive, this.count);
  }

  /** An entry is about this operation. Throws Diverged where the code's operation is none of `kinds`. */
  expect(operation: number, kinds: readonly Kind[], what: string, offset: number): void {
    const label = this.labels[operation];
    if (label !== undefined && kinds.includes(label.kind)) return;
    const issued = label === undefined ? this.told(this.count) : `operation ${operation} is ${label.text}`;
    throw new Diverged(offset, `operation ${operation} is a ${what}`, issued);
  }

  private compare(checkpoint: Checkpoint): void {
    const offset = Number(checkpoint.appliedOffset);
    const mark = this.markAt(offset);
    const theirs = checkpoint.operationsHash;
    const same =
      theirs.length < HASH_BYTES || new DataView(theirs.buffer, theirs.byteOffset).getBigUint64(0) === mark.hash;
    if (Number(checkpoint.operations) !== mark.count || !same) this.diverge(checkpoint, mark.count);
    if (offset > this.agreed.offset) this.agreed = { offset, count: mark.count };
  }

  private markAt(offset: number): Mark {
    let low = 0;
    let high = this.marks.length;
    while (low + 1 < high) {
      const middle = (low + high) >> 1;
      if ((this.marks[middle] as Mark).offset <= offset) low = middle;
      else high = middle;
    }
    return this.marks[low] as Mark;
  }

  private diverge(checkpoint: Checkpoint, count: number): never {
    const { offset, count: agreed } = this.agreed;
    const listed = this.list(agreed, count) || "nothing";
    let issued = `${this.told(count)}. Both agree through offset ${offset}; then this code issued: ${listed}`;
    if (this.endedAt !== undefined) issued += `; and its function ended at offset ${this.endedAt}`;
    const expected = `${checkpoint.operations} operations by then: ${lastOf(checkpoint)}`;
    throw new Diverged(Number(checkpoint.appliedOffset), expected, issued);
  }

  private told(count: number): string {
    if (count === 0) return "no operation";
    return `${count} operations, the last of them number ${count - 1}, ${this.labels[count - 1]?.text}`;
  }

  private list(first: number, end: number): string {
    const shown = this.labels.slice(first, Math.min(end, first + SHOWN));
    const text = shown.map((label, index) => `${first + index} ${label.text}`).join(", ");
    return end > first + SHOWN ? `${text}, ...` : text;
  }
}

function lastOf(checkpoint: Checkpoint): string {
  if (checkpoint.operations === 0n) return "none";
  const label = new TextDecoder().decode(checkpoint.operationsHash.subarray(HASH_BYTES)) || "unknown";
  return `the last of them number ${checkpoint.operations - 1n}, ${label}`;
}
