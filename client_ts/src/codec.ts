import type { Payload } from "./gen/midstream/v1/record_pb.js";
import type { StreamRecord } from "./models.js";

/** How the values of a stream with a declared type travel. */
export interface Codec<T, In = T> {
  /** Throws MidstreamError (PAYLOAD_INVALID) for what cannot be such a value. */
  encode(value: In): Payload;
  /** The record with its value as the type has it. Throws RecordInvalid. */
  read(record: StreamRecord): StreamRecord<T>;
}

/** As the stream's codec has it; without one as it is. Throws RecordInvalid. */
export function read<T>(codec: Codec<T, never> | undefined, record: StreamRecord): StreamRecord<T> {
  return codec === undefined ? (record as StreamRecord<T>) : codec.read(record);
}
