import { type Codec, read } from "../codec.js";
import type { StreamRecord } from "../models.js";
import { decodePayload } from "../payload.js";
import { RecordInvalid } from "../record-invalid.js";
import type { PendingRecord } from "./outbox.js";

/** Shows records as a stream's type has them: each record is one object for as long as it is shown. */
export interface Reader {
  records(all: readonly StreamRecord[]): {
    readonly records: readonly StreamRecord[];
    readonly invalid: readonly RecordInvalid[];
  };
  /** As they will be when they have become records; as they were given, where they do not fit. */
  pending(all: readonly PendingRecord[]): readonly PendingRecord[];
}

const NONE_INVALID: readonly RecordInvalid[] = Object.freeze([]);

/** Without a codec, records are shown as they are. */
export function createReader(codec: Codec<unknown, never> | undefined): Reader {
  if (codec === undefined) {
    return { records: (records) => ({ records, invalid: NONE_INVALID }), pending: (all) => all };
  }
  const known = new WeakMap<StreamRecord, StreamRecord | RecordInvalid>();
  const knownPending = new WeakMap<PendingRecord, PendingRecord>();

  function readOne(record: StreamRecord): StreamRecord | RecordInvalid {
    try {
      return read(codec, record);
    } catch (error) {
      if (error instanceof RecordInvalid) return error;
      throw error;
    }
  }

  function asRecord(pending: PendingRecord): PendingRecord {
    try {
      const value = decodePayload(codec?.encode(pending.value as never));
      const record = { ...pending, value, seq: 0, offset: 0, schemaVersion: 0 } as unknown as StreamRecord;
      return { ...pending, value: read(codec, record).value };
    } catch {
      return pending;
    }
  }

  return {
    records(all) {
      const read = all.map((record) => remembered(known, record, readOne));
      const invalid = read.filter((each) => each instanceof RecordInvalid);
      const records = read.filter((each): each is StreamRecord => !(each instanceof RecordInvalid));
      return { records, invalid: invalid.length > 0 ? invalid : NONE_INVALID };
    },
    pending: (all) => (all.length === 0 ? all : all.map((each) => remembered(knownPending, each, asRecord))),
  };
}

function remembered<K extends object, V>(known: WeakMap<K, V>, key: K, make: (key: K) => V): V {
  let value = known.get(key);
  if (value === undefined) {
    value = make(key);
    known.set(key, value);
  }
  return value;
}
