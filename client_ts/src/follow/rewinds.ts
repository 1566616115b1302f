import type { StreamRecord } from "../models.js";

/** The records that count: without those that a later record of their stream has rewound, and without these marks. */
export function applyRewinds<T>(records: readonly StreamRecord<T>[]): StreamRecord<T>[] {
  const marks = records.filter((record) => record.rewound);
  if (marks.length === 0) return [...records];
  const isRewound = (record: StreamRecord<T>) =>
    marks.some(
      (mark) =>
        mark.streamId === record.streamId &&
        mark.runId === record.runId &&
        mark.direction === record.direction &&
        mark.seq > record.seq &&
        mark.rewound?.some(({ firstSeq, lastSeq }) => firstSeq <= record.seq && record.seq <= lastSeq),
    );
  return records.filter((record) => !record.rewound && !isRewound(record));
}
