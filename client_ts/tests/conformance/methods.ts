/** Every RPC of the contract, by its name in a vector. */

import type {
  DescMethod,
  DescMethodBiDiStreaming,
  DescMethodServerStreaming,
  DescMethodUnary,
} from "@bufbuild/protobuf";
import { RunService } from "../../src/gen/midstream/v1/run_service_pb.js";
import { SchemaService } from "../../src/gen/midstream/v1/schema_service_pb.js";
import { StreamService } from "../../src/gen/midstream/v1/stream_service_pb.js";
import { TokenService } from "../../src/gen/midstream/v1/token_service_pb.js";
import { WorkerService } from "../../src/gen/midstream/v1/worker_service_pb.js";

export type AnyStreaming = DescMethodBiDiStreaming | DescMethodServerStreaming;

const SERVICES = [RunService, SchemaService, StreamService, TokenService, WorkerService];
export const METHODS: ReadonlyMap<string, DescMethod> = new Map(
  SERVICES.flatMap((service) => service.methods.map((method) => [`${service.name}.${method.name}`, method] as const)),
);

export function unaryMethod(rpc: string): DescMethodUnary {
  const method = found(rpc);
  if (method.methodKind !== "unary") throw new Error(`${rpc} is a streaming call: give it an exchange`);
  return method as DescMethodUnary;
}

export function streamingMethod(rpc: string): AnyStreaming {
  const method = found(rpc);
  if (method.methodKind === "unary" || method.methodKind === "client_streaming") {
    throw new Error(`${rpc} has one response: give it a request`);
  }
  return method as AnyStreaming;
}

function found(rpc: string): DescMethod {
  const method = METHODS.get(rpc);
  if (method === undefined) throw new Error(`no RPC is named ${rpc}`);
  return method;
}
