// For a test of `midstream schema push`: a stream that no module exports. From the build, as a user's own code.
import { z } from "zod";
import { inputStream } from "../../dist/index.js";

inputStream({ id: "pushed", schema: z.object({ text: z.string() }) });
