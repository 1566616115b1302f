/** Which records of a stream are done with, and how far that may be acknowledged. */

interface Uses {
  open: number;
  finished: number;
}

/**
 * Counts the uses of each record: a handler's call, or a receive that took it.
 *
 * A record is finished when every use of it is; the cursor moves only over a gap-free prefix of finished records. A use
 * that came to nothing is released: a record that nobody used after all is unconsumed again.
 */
export class AckTracker {
  private through = 0;
  private readonly uses = new Map<number, Uses>();
  private readonly finishedAhead = new Set<number>();
  private readonly gaps: [first: number, last: number][] = [];

  /** The seq through which every record is finished. */
  get cursor(): number {
    return this.through;
  }

  /** How many records are in use. */
  get openCount(): number {
    return this.uses.size;
  }

  /** What is finished beyond the cursor: first and last seqs, in order, with others in between. */
  get beyond(): [first: number, last: number][] {
    const ranges: [first: number, last: number][] = [];
    const ahead = [...this.finishedAhead].map((seq): [number, number] => [seq, seq]);
    for (const [first, last] of [...this.gaps, ...ahead].sort(([one], [other]) => one - other)) {
      const before = ranges.at(-1);
      if (before !== undefined && first <= before[1] + 1) before[1] = Math.max(before[1], last);
      else ranges.push([first, last]);
    }
    return ranges;
  }

  /** Whether nobody is to get the record any more. */
  isFinished(seq: number): boolean {
    if (seq <= this.through || this.finishedAhead.has(seq)) return true;
    return this.gaps.some(([first, last]) => first <= seq && seq <= last);
  }

  /** Begins behind a cursor that was set earlier, by another process for instance. Never moves back. */
  startBehind(cursor: number): void {
    if (cursor <= this.through) return;
    this.move(cursor);
    this.advance();
  }

  /** These do not come: the cursor passes them as if they were finished. */
  skip(first: number, last: number): void {
    if (last <= this.through) return;
    this.gaps.push([first, last]);
    this.gaps.sort(([one], [other]) => one - other);
    this.advance();
  }

  /** One more handler or receive has the record. Each use ends with `finish` or `release`. */
  use(seq: number): void {
    const uses = this.uses.get(seq);
    if (uses === undefined) this.uses.set(seq, { open: 1, finished: 0 });
    else uses.open += 1;
  }

  /** A use has ended: the handler returned or its failure was noted, the receive's caller asked for more. */
  finish(seq: number): void {
    const uses = this.usesOf(seq);
    uses.open -= 1;
    uses.finished += 1;
    this.settle(seq, uses);
  }

  /** A use came to nothing. True: it was the only one, so the record is unconsumed again. */
  release(seq: number): boolean {
    const uses = this.usesOf(seq);
    uses.open -= 1;
    if (uses.open === 0 && uses.finished === 0) {
      this.uses.delete(seq);
      return true;
    }
    this.settle(seq, uses);
    return false;
  }

  private usesOf(seq: number): Uses {
    const uses = this.uses.get(seq);
    if (uses === undefined) throw new Error(`record ${seq} is not in use`);
    return uses;
  }

  private settle(seq: number, uses: Uses): void {
    if (uses.open > 0) return;
    this.uses.delete(seq);
    if (seq > this.through) {
      this.finishedAhead.add(seq);
      this.advance();
    }
  }

  private advance(): void {
    for (;;) {
      while (this.finishedAhead.delete(this.through + 1)) this.through += 1;
      const gap = this.gaps[0];
      if (gap === undefined || gap[0] > this.through + 1) return;
      this.gaps.shift();
      this.move(gap[1]);
    }
  }

  private move(cursor: number): void {
    if (cursor <= this.through) return;
    this.through = cursor;
    for (const seq of this.finishedAhead) if (seq <= cursor) this.finishedAhead.delete(seq);
  }
}
