const MAX_RECORDS = 16_000;
const MAX_BYTES = 16 * 1024 * 1024;

/** Bounds what is under way: whoever comes waits for room, first come, first served. */
export interface Gate {
  enter(sizeBytes: number): Promise<void>;
  leave(sizeBytes: number): void;
}

export function createGate(): Gate {
  let records = 0;
  let bytes = 0;
  const queue: (() => void)[] = [];
  const hasRoom = () => records === 0 || (records < MAX_RECORDS && bytes < MAX_BYTES);
  return {
    async enter(sizeBytes) {
      while (!hasRoom()) await new Promise<void>((resolve) => queue.push(resolve));
      records += 1;
      bytes += sizeBytes;
    },
    leave(sizeBytes) {
      records -= 1;
      bytes -= sizeBytes;
      queue.shift()?.();
    },
  };
}
