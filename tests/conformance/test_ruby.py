"""A client made of nothing but generated stubs, in a language that has no Midstream client, plays the vectors."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from support.conformance.servers import PlayedServer
from support.conformance.vector import load_vectors

ROOT = Path(__file__).parents[2]
PACKAGES = "ruby ruby-grpc ruby-google-protobuf ruby-grpc-tools libprotobuf-dev"
SERVICES = ("RunService.", "StreamService.")


def missing() -> bool:
    if not shutil.which("ruby") or not shutil.which("grpc_tools_ruby_protoc"):
        return True
    found = subprocess.run(["ruby", "-e", "require 'grpc'"], capture_output=True, check=False)
    return found.returncode != 0 or not Path("/usr/include/google/protobuf/timestamp.proto").exists()


@pytest.mark.parametrize("servers", ["sqlite"], indirect=True)
def test_the_vectors_in_ruby(servers: dict[str, PlayedServer], tmp_path: Path) -> None:
    if missing():
        pytest.skip(f"NO THIRD LANGUAGE WAS TESTED: as root, `apt-get install {PACKAGES}`, and run this again")
    protos = sorted(str(path) for path in (ROOT / "proto/midstream/v1").glob("*.proto"))
    paths = [f"-I{ROOT / 'proto'}", f"-I{ROOT / 'third_party/googleapis'}"]
    out = [f"--ruby_out={tmp_path}", f"--grpc_out={tmp_path}"]
    subprocess.run(["grpc_tools_ruby_protoc", *paths, *out, *protos], check=True)

    played = subprocess.run(
        ["ruby", str(ROOT / "tests/conformance/ruby/play.rb"), str(tmp_path)],
        input=json.dumps({kind: server.described() for kind, server in servers.items()}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert played.returncode == 0, played.stdout + played.stderr
    left_out = set(re.findall(r"^left out: (\S+):", played.stdout, re.MULTILINE))
    vectors = [vector for vector in load_vectors() if vector.name not in left_out]
    assert played.stdout.splitlines()[-1] == f"played {len(vectors)}, failed 0"
    rpcs = {step["rpc"] for vector in vectors for step in vector.steps}
    every = {step["rpc"] for vector in load_vectors() for step in vector.steps if "rpc" in step}
    assert {rpc for rpc in rpcs if rpc.startswith(SERVICES)} == {rpc for rpc in every if rpc.startswith(SERVICES)}
