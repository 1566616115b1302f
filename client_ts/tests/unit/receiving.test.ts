import { describe, expect, test } from "vitest";
import { HandlerQueue } from "../../src/receiving/handler-queue.js";
import { type Receive, StreamBuffer } from "../../src/receiving/stream-buffer.js";

interface Item {
  readonly seq: number;
}

const item = (seq: number): Item => ({ seq });

class Bench {
  readonly buffer = new StreamBuffer<Item>({ wake: () => undefined });
  readonly settled: Receive<Item>[] = [];

  put(...seqs: number[]): void {
    this.buffer.put(seqs.map(item));
  }

  receive(options: { immediate?: boolean; everything?: boolean; gone?: boolean } = {}): Receive<Item> {
    const receive = this.buffer.receive(() => {
      if (options.gone) return false;
      this.settled.push(receive);
      return true;
    }, options);
    return receive;
  }

  /** A handler that notes what it hears and finishes at once, unless it is to be slow. */
  on(heard: number[], slow = false): { queue: HandlerQueue<Item>; end: () => void } {
    const ends: (() => void)[] = [];
    const queue = new HandlerQueue<Item>(
      (record) => {
        heard.push(record.seq);
        return slow ? Promise.resolve() : undefined;
      },
      {
        spawn: (_call, ended) => ends.push(() => ended(false)),
        finished: (record) => this.buffer.tracker.finish(record.seq),
      },
    );
    this.buffer.attach(queue);
    return { queue, end: () => ends.shift()?.() };
  }

  run(): void {
    while (this.buffer.handOut());
  }
}

describe("a stream's buffer", () => {
  test("gives each receive one record, first come, first served", () => {
    const bench = new Bench();
    const [first, second] = [bench.receive(), bench.receive()];
    bench.put(1, 2, 3);
    bench.run();
    expect([first.records, second.records]).toEqual([[item(1)], [item(2)]]);
    expect(bench.buffer.newest()).toEqual(item(3));
  });

  test("gives every handler of the turn the buffered records, and one receive too", () => {
    const bench = new Bench();
    bench.put(1, 2);
    const [one, two]: [number[], number[]] = [[], []];
    bench.on(one);
    bench.on(two);
    const receive = bench.receive();
    bench.run();
    expect([one, two, receive.records]).toEqual([[1, 2], [1, 2], [item(1)]]);
    expect(bench.buffer.newest()).toBeUndefined();
  });

  test("keeps records that nobody asked for, whatever is attached later", () => {
    const bench = new Bench();
    bench.put(1, 2);
    bench.run();
    expect(bench.buffer.length).toBe(2);
    const heard: number[] = [];
    bench.on(heard);
    bench.run();
    expect(heard).toEqual([1, 2]);
    expect(bench.buffer.tracker.cursor).toBe(2);
  });

  test("drops what is delivered twice", () => {
    const bench = new Bench();
    bench.put(1, 2, 2, 1, 3);
    expect(bench.buffer.length).toBe(3);
    bench.buffer.startBehind(5);
    bench.put(4, 5, 6);
    expect(bench.buffer.length).toBe(4);
  });

  test("takes back what a receive that has gone was given", () => {
    const bench = new Bench();
    bench.put(1, 2);
    bench.receive({ gone: true });
    const next = bench.receive();
    bench.run();
    expect(next.records).toEqual([item(1)]);
    bench.buffer.cancel(next);
    expect(bench.buffer.oldest).toEqual(item(1));
  });

  test("what a handler has too stays consumed when a receive gives it back", () => {
    const bench = new Bench();
    const heard: number[] = [];
    bench.on(heard);
    const receive = bench.receive();
    bench.put(1);
    bench.run();
    bench.buffer.cancel(receive);
    expect([heard, bench.buffer.length, bench.buffer.tracker.cursor]).toEqual([[1], 0, 1]);
  });

  test("a slow handler has one record at a time; what it had not begun is unconsumed when it leaves", () => {
    const bench = new Bench();
    const heard: number[] = [];
    const { queue, end } = bench.on(heard, true);
    bench.put(1, 2, 3);
    bench.run();
    expect([heard, queue.length, bench.buffer.backlog]).toEqual([[1], 3, 3]);
    end();
    expect(heard).toEqual([1, 2]);
    bench.buffer.detach(queue);
    expect(bench.buffer.oldest).toEqual(item(3));
    end();
    expect(bench.buffer.tracker.cursor).toBe(2);
  });

  test("an immediate receive ends when nothing is left, one for everything takes it all", () => {
    const bench = new Bench();
    bench.put(1, 2, 3);
    const all = bench.receive({ immediate: true, everything: true });
    const none = bench.receive({ immediate: true });
    bench.run();
    expect(all.records.map((each) => each.seq)).toEqual([1, 2, 3]);
    expect(none.records).toEqual([]);
    expect(bench.settled).toEqual([all, none]);
  });

  test("the cursor moves only over a prefix without gaps", () => {
    const { tracker } = new Bench().buffer;
    for (const seq of [1, 2, 3]) tracker.use(seq);
    tracker.finish(3);
    tracker.finish(2);
    expect(tracker.cursor).toBe(0);
    tracker.finish(1);
    expect([tracker.cursor, tracker.openCount]).toEqual([3, 0]);
  });

  test("hands out nothing once it is closed", () => {
    const bench = new Bench();
    const heard: number[] = [];
    bench.on(heard);
    bench.put(1);
    bench.buffer.close();
    bench.run();
    expect([heard, bench.buffer.listening]).toEqual([[], false]);
  });
});

describe("a stream that drops its oldest", () => {
  test("a gap does not hold the cursor up", () => {
    const bench = new Bench();
    const heard: number[] = [];
    const { end } = bench.on(heard, true);
    bench.put(1, 5);
    while (bench.buffer.handOut());
    expect(bench.buffer.tracker.cursor).toBe(0);
    end();
    expect(bench.buffer.tracker.cursor).toBe(4);
    end();
    expect([heard, bench.buffer.tracker.cursor]).toEqual([[1, 5], 5]);
  });

  test("what was dropped is handed to nobody, not even to a handler that it waits for", () => {
    const bench = new Bench();
    const slow: number[] = [];
    const late: number[] = [];
    const { end } = bench.on(slow, true);
    bench.put(1, 2, 3);
    while (bench.buffer.handOut());
    bench.buffer.drop(2, 2);
    bench.on(late);
    end();
    end();
    while (bench.buffer.handOut());
    expect([slow, late, bench.buffer.tracker.cursor]).toEqual([[1, 3], [], 3]);
  });

  test("what was taken stays taken", () => {
    const bench = new Bench();
    const receive = bench.receive();
    bench.put(1, 2, 3);
    bench.buffer.handOut();
    bench.buffer.tracker.finish(1);
    bench.buffer.drop(1, 2);
    expect([receive.records.map(({ seq }) => seq), bench.buffer.length, bench.buffer.tracker.cursor]).toEqual([
      [1],
      1,
      2,
    ]);
  });

  test("dropped ranges that the cursor has passed in part", () => {
    const { tracker } = new Bench().buffer;
    tracker.skip(4, 6);
    tracker.skip(2, 3);
    tracker.startBehind(5);
    expect(tracker.cursor).toBe(6);
    tracker.skip(5, 9);
    expect(tracker.cursor).toBe(9);
  });
});
