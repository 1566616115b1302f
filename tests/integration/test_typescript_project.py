"""A project in TypeScript as a user has it: `midstream worker ./tasks/*.ts`, by tsx."""

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

import midstream
from midstream import Run, RunState
from midstream.entry import StepEnded
from support.server_process import ServerProcess
from support.typescript_worker import TypeScriptProject, node_program
from support.worker_process import WorkerProcess

TYPES = """
export enum Mood { Calm, Cross }
export interface Word { readonly text: string; readonly mood?: Mood }
"""

TASKS = """
import { readFile } from "node:fs/promises";
import { RunCancelled, step, streams, task, waitAny, type TaskContext } from "@midstream/client/worker";
import { Mood, type Word } from "./types.js";

const words = streams.input<Word>({ id: "words" });
const approval = streams.input<boolean>({ id: "approval" });

const measure = step(async function measure(word: Word): Promise<number> {
    console.log(`measuring ${word.text}`);
    return word.text.length;
});

/** Sums the lengths of two words, with the process gone in between. */
export const sums = task({
    id: "sums",
    idleTimeout: "0s",
    run: async (_payload: null, ctx: TaskContext) => {
        console.log("begun");
        let sum = 0;
        for (let count = 0; count < 2; count += 1) {
            sum += await measure((await words.wait()).unwrap());
            console.warn(`sum ${sum}`);
        }
        ctx.log.info("done");
        return { sum, mood: Mood[Mood.Cross] };
    },
});

export const picks = task({
    id: "picks",
    run: async () => {
        const seen: unknown[] = [];
        for await (const word of words) if (seen.push(word.text) === 2) break;
        const first = await waitAny<unknown>([words, approval]);
        return [...seen, first.stream?.id, first.output];
    },
});

function burst(where: string): never {
    throw new RangeError(`burst in ${where}`); // the line
}

export const bursts = task({
    id: "bursts",
    run: async (where: string, ctx) => {
        if (where === "step") await ctx.step("bursting", () => burst("a step"));
        if (where === "handler") {
            words.on(function listen() {
                burst("a handler");
            });
            await approval.wait();
        }
        burst("the task");
    },
});

/** Its step goes on until its signal aborts. */
export const endless = task({
    id: "endless",
    run: async (_payload: null, ctx) => {
        try {
            await ctx.step("endless", ({ signal }) => {
                console.log("working");
                return new Promise((_resolve, reject) => {
                    signal.addEventListener("abort", () => {
                        console.log(`stopped: ${String(signal.reason)}`);
                        reject(signal.reason);
                    });
                });
            });
        } catch (error) {
            await ctx.step("clean up", () => console.log("cleaned up"));
            if (error instanceof RunCancelled && ctx.signal.aborted) throw error;
            return "another error";
        }
        return "no error";
    },
});

export const trespasses = task({
    id: "trespasses",
    run: async (_payload: null, ctx) => {
        const text = await readFile("/etc/hostname", "utf8");
        return ctx.step("measure", () => text.length > 0);
    },
});
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path_factory.mktemp("server")) as process:
        yield process


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> TypeScriptProject:
    project = TypeScriptProject(tmp_path_factory.mktemp("project"))
    project.write("tasks/types.ts", TYPES)
    project.write("tasks/all.ts", TASKS)
    return project


@pytest.fixture(scope="module")
def worker(server: ServerProcess, project: TypeScriptProject) -> Iterator[WorkerProcess]:
    with project.worker(server.url, "tasks/all.ts") as process:
        process.wait_for("connected")
        yield process


@pytest.fixture
async def client(server: ServerProcess) -> AsyncIterator[midstream.Client]:
    async with midstream.connect(server.url) as client:
        yield client


async def until(client: midstream.Client, run_id: str, *states: RunState) -> Run:
    async for run in client.watch_run(run_id):
        if run.state in states or run.state.is_final:
            return run
    raise AssertionError("the run ended without a final state")


def logged(worker: WorkerProcess, run_id: str) -> list[tuple[str, str]]:
    return [(e["level"], e["text"]) for e in worker.events if e["event"] == "log" and e["run_id"] == run_id]


async def test_what_a_task_prints_has_its_run_and_is_not_repeated(
    client: midstream.Client, worker: WorkerProcess
) -> None:
    run = await client.start_run("sums")
    for count, word in enumerate(("one", "three"), start=1):
        worker.wait_for("run_suspended", run_id=run.id, count=count)
        await client.send(run.id, "words", {"text": word})
    ended = await until(client, run.id)
    assert ended.state is RunState.COMPLETED, ended.failure
    assert ended.result == {"sum": 8, "mood": "Cross"}
    worker.wait_for("run_finished", run_id=run.id)
    assert logged(worker, run.id) == [
        ("log", "begun"),
        ("log", "measuring one"),
        ("warn", "sum 3"),
        ("log", "measuring three"),
        ("warn", "sum 8"),
        ("info", "done"),
    ]


async def test_by_iteration_and_from_the_first_of_several(client: midstream.Client, worker: WorkerProcess) -> None:
    run = await client.start_run("picks", records=[("words", {"text": "a"}), ("words", {"text": "b"})])
    await client.send(run.id, "approval", False)
    ended = await until(client, run.id)
    assert ended.result == ["a", "b", "approval", False], ended.failure


def line_of_the_throw() -> str:
    return f"all.ts:{1 + TASKS[: TASKS.index('throw new RangeError')].count(chr(10))}:"


async def test_stacks_of_a_task_and_of_a_step_name_the_lines_of_the_source(
    client: midstream.Client, worker: WorkerProcess
) -> None:
    thrown = await client.start_run("bursts", "task")
    failure = (await until(client, thrown.id)).failure
    assert failure is not None
    assert (failure.error_type, failure.message) == ("RangeError", "burst in the task")
    assert line_of_the_throw() in failure.stack
    stepped = await client.start_run("bursts", "step")
    failure = (await until(client, stepped.id)).failure
    assert failure is not None
    assert failure.error_type == "StepFailed"
    assert failure.message == 'step "bursting" failed: RangeError: burst in a step'
    [stack] = [
        entry.fact.failure.stack
        async for entry in client.list_entries(stepped.id)
        if isinstance(entry.fact, StepEnded) and entry.fact.failure is not None
    ]
    assert line_of_the_throw() in stack


async def test_a_handlers_failure_is_recorded_and_printed_with_its_stack(
    client: midstream.Client, worker: WorkerProcess
) -> None:
    run = await client.start_run("bursts", "handler")
    await client.send(run.id, "words", {"text": "boom"})
    await client.send(run.id, "approval", True)
    ended = await until(client, run.id)
    [failure] = ended.handler_failures
    assert (failure.stream_id, failure.handler, failure.message) == ("words", "listen", "burst in a handler")
    worker.wait_for("run_finished", run_id=run.id)
    [(level, text)] = logged(worker, run.id)
    assert level == "error"
    assert line_of_the_throw() in text


@pytest.mark.parametrize("why", ["cancel", "deadline"])
async def test_a_cancel_and_a_deadline_reach_the_steps_signal(
    client: midstream.Client, worker: WorkerProcess, why: str
) -> None:
    run = await client.start_run("endless", max_duration="3s" if why == "deadline" else None)
    if why == "cancel":
        worker.wait_for("log", run_id=run.id, text="working")
        await client.cancel_run(run.id)
    ended = await until(client, run.id)
    assert ended.state is (RunState.CANCELLED if why == "cancel" else RunState.EXPIRED), ended.failure
    worker.wait_for("run_finished", run_id=run.id)
    texts = [text for _, text in logged(worker, run.id)]
    assert texts == ["working", "stopped: AbortError: the step was cancelled", "cleaned up"]


async def test_real_io_fails_the_run_in_development(client: midstream.Client, worker: WorkerProcess) -> None:
    run = await client.start_run("trespasses")
    failure = (await until(client, run.id)).failure
    assert failure is not None
    assert failure.error_type == "UnjournaledAwait"
    assert 'await ctx.step("name"' in failure.message


async def test_real_io_is_told_once_in_production(
    server: ServerProcess, client: midstream.Client, project: TypeScriptProject, worker: WorkerProcess
) -> None:
    worker.terminate()
    try:
        with project.worker(server.url, "tasks/all.ts", env={"NODE_ENV": "production"}) as lenient:
            for _ in range(2):
                run = await client.start_run("trespasses")
                assert (await until(client, run.id)).result is True
            lenient.terminate()
            told = [e["text"] for e in lenient.events if e["event"] == "log"]
        assert len(told) == 1
        assert told[0].startswith("UnjournaledAwait: a file was used")
        assert "all.ts:" in told[0]
    finally:
        worker.start()


VERSIONED = """
import { streams, task } from "@midstream/client/worker";
const approval = streams.input<boolean>({ id: "approval" });
export const versioned = task({
    id: "versioned",
    idleTimeout: "0s",
    run: async (_payload: null, ctx) => {
        const found = await ctx.step("search", () => "found");
        // HERE
        return [found, (await approval.wait()).unwrap()];
    },
});
"""


async def test_changed_code_goes_on_or_is_blocked_and_old_code_puts_it_right(
    server: ServerProcess, client: midstream.Client, tmp_path: Path
) -> None:
    project = TypeScriptProject(tmp_path)

    def worker(change: str) -> WorkerProcess:
        project.write("versioned.ts", VERSIONED.replace("// HERE", change))
        return project.worker(server.url, "versioned.ts")

    with worker("") as old:
        runs = [(await client.start_run("versioned")).id for _ in range(2)]
        for run_id in runs:
            old.wait_for("run_suspended", run_id=run_id)
    harmless, harmed = runs
    with worker("const unused = found.length; // harmless"):
        await client.send(harmless, "approval", True)
        assert (await until(client, harmless)).result == ["found", True]
    with worker('await ctx.step("file", () => 1);') as new:
        await client.send(harmed, "approval", True)
        blocked = await until(client, harmed, RunState.BLOCKED)
        assert blocked.state is RunState.BLOCKED
        new.wait_for("run_blocked", run_id=harmed)
    assert blocked.failure is not None
    assert 'the log:   2 operations by then: the last of them number 1, wait "approval"' in blocked.failure.message
    assert 'this code: 2 operations, the last of them number 1, step "file"' in blocked.failure.message
    with worker(""):
        assert (await until(client, harmed)).result == ["found", True]
    versions = [each.code_version for each in await client.list_assignments(harmless)]
    assert len(set(versions)) == 2


@pytest.mark.parametrize(
    ("module", "text", "told"),
    [
        ("two.ts", "export const one = task({ id: 'same', run: () => 1 });", 'two tasks are named "same"'),
        ("broken.ts", "export const = 1;", "broken.ts"),
        ("throws.ts", "throw new Error('at import');", "at import"),
    ],
)
def test_a_module_that_cannot_be_loaded_is_told(
    server: ServerProcess, project: TypeScriptProject, module: str, text: str, told: str
) -> None:
    head = 'import { task } from "@midstream/client/worker";\n'
    project.write("same.ts", f"{head}export const same = task({{ id: 'same', run: () => 0 }});")
    project.write(module, head + text)
    with project.worker(server.url, "same.ts", module) as process:
        assert process.wait() == 1
        assert any(told in line for line in process.printed()), process.printed()


def test_without_tsx_it_says_what_to_install(server: ServerProcess, tmp_path: Path) -> None:
    node = node_program()
    native = subprocess.run(
        [node, "-p", "Boolean(process.features.typescript)"], capture_output=True, text=True, check=True
    )
    project = TypeScriptProject(tmp_path, tsx=False)
    project.write("plain.ts", VERSIONED)
    with project.worker(server.url, "plain.ts") as process:
        if native.stdout.strip() == "true":
            process.wait_for("connected")
        else:
            assert process.wait() == 1
            assert any("npm install tsx" in line for line in process.printed()), process.printed()


async def test_the_same_flags_as_the_python_worker(server: ServerProcess, project: TypeScriptProject) -> None:
    def options(*command: str) -> set[str]:
        shown = subprocess.run([*command, "--help"], cwd=project.directory, capture_output=True, text=True, check=True)
        return {word.strip(" ,.") for word in shown.stdout.split() if word.startswith("--")}

    ours = options(node_program(), "node_modules/@midstream/client/dist/worker/cli/main.js", "worker")
    assert options(sys.executable, "-m", "midstream.cli", "worker") - ours <= {"--start-method", "--no-push-schemas"}, (
        json.dumps(sorted(ours))
    )
