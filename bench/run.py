"""`make bench`: the product beside a bare relay, in front of the same fake provider, in alternating runs; prints medians and ratios."""

from __future__ import annotations

import argparse
import http.client
import json
import os
import platform
import socket
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median

import uvloop

from bench.fake_provider import BURST, BURST_CHUNKS, CLAUDE_BURST, CLAUDE_SHORT, CLAUDE_UNARY, PACED, PACED_CHUNKS, SENTENCE, SHORT, UNARY
from bench.load import Job, Pool
from bench.spans import SPANS
from bench.spans import Figures as Spans
from bench.spans import measure as measure_spans
from bench.traces import SPANS as TRACE_SPANS
from bench.traces import Opening
from bench.traces import measure as measure_trace

ROOT = Path(__file__).parents[1]
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
HEALTHY_WITHIN_S = 15.0
DRAINED_WITHIN_S = 20.0


@dataclass(frozen=True, slots=True)
class Server:
    """A process under measurement. `queued` says how many rows it still has to write."""

    name: str
    process: subprocess.Popen[bytes]
    port: int
    started_in_s: float
    queued: Callable[[int], int]

    def cpu_s(self) -> float:
        """User and system time of all its threads, from the kernel (proc(5), stat fields 14 and 15; resolution 10 ms)."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS_PER_S

    def memory_mb(self, field: str) -> float:
        """`VmRSS` (now) or `VmHWM` (the most it ever was), from proc(5)."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1]) / 1024
        raise LookupError(field)

    def drain(self) -> None:
        """Returns once everything it remembered is on its way out of memory: that work belongs to the requests that caused it."""
        deadline = time.monotonic() + DRAINED_WITHIN_S
        while self.queued(self.port):
            if time.monotonic() > deadline:
                sys.exit(f"{self.name}: rows are still waiting to be written after {DRAINED_WITHIN_S:.0f} s")
            time.sleep(0.02)


def nothing_queued(port: int) -> int:
    return 0


def rows_queued(port: int) -> int:
    return int(json.loads(get(port, "/health/ready")[1])["writer"]["queued_rows"])


def get(port: int, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def started(name: str, command: list[str], port: int, home: Path, queued: Callable[[int], int] = nothing_queued) -> Iterator[Server]:
    """A process that answers /health/live, with an environment of its own; stopped at the end."""
    environment = {"PATH": os.environ.get("PATH", ""), "PYTHONPATH": str(ROOT), "HOME": str(home)}
    if name == "product":
        environment |= {
            "OPENAI_API_KEY": "sk-bench",
            "ANTHROPIC_API_KEY": "sk-ant-bench",
            "RESPAN_PROXY_OPENAI_BASE_URL": f"{command[-1]}/v1",
            "RESPAN_PROXY_ANTHROPIC_BASE_URL": command.pop(),
            "RESPAN_PROXY_DATABASE": f"{home}/bench.db",
        }
    log = home / f"{name}.log"
    with log.open("wb") as output:
        began = time.monotonic()
        process = subprocess.Popen(command, cwd=home, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        try:
            while not answers(port):
                if process.poll() is not None or time.monotonic() - began > HEALTHY_WITHIN_S:
                    sys.exit(f"{name} did not start:\n{log.read_text()[-2000:]}")
                time.sleep(0.005)
            yield Server(name, process, port, time.monotonic() - began, queued)
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def answers(port: int) -> bool:
    try:
        return get(port, "/health/live")[0] == 200
    except (OSError, http.client.HTTPException):
        return False


def python(module: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", module, *arguments]


# What is asked for.


def post(path: str, members: dict[str, object], sdk: str) -> bytes:
    body = json.dumps(members, separators=(",", ":")).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nAccept: application/json\r\n"
        f"{sdk}X-Stainless-Lang: python\r\nX-Stainless-Async: async:asyncio\r\n"
        f"X-Stainless-Retry-Count: 0\r\nAccept-Encoding: gzip, deflate\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def request(model: str, *, stream: bool = False, messages: list[dict[str, object]] | None = None, **more: object) -> bytes:
    """One whole HTTP request, as an SDK would send it, with `more` members."""
    members: dict[str, object] = {
        "model": model,
        "messages": messages or [{"role": "system", "content": "Be brief."}, {"role": "user", "content": SENTENCE * 4}],
        "temperature": 0.2,
        **more,
    }
    if stream:
        members["stream"] = True
    return post("/v1/chat/completions", members, "User-Agent: OpenAI/Python 3.54.0\r\n")


def message(model: str, *, stream: bool = False) -> bytes:
    """The same request in Anthropic's dialect."""
    members: dict[str, object] = {
        "model": model,
        "max_tokens": 1024,
        "system": "Be brief.",
        "messages": [{"role": "user", "content": SENTENCE * 4}],
        "temperature": 0.2,
    }
    if stream:
        members["stream"] = True
    return post("/v1/messages", members, "User-Agent: Anthropic/Python 0.112.0\r\nanthropic-version: 2023-06-01\r\n")


def agent_history() -> list[dict[str, object]]:
    """90 KB of an agent's conversation: calls of a tool and their results, in turn."""
    messages: list[dict[str, object]] = [{"role": "system", "content": SENTENCE * 20}]
    for turn in range(60):
        call = {"id": f"call_{turn:04}", "type": "function", "function": {"name": "read_file", "arguments": f'{{"path": "src/{turn}.py"}}'}}
        messages.append({"role": "assistant", "content": None, "tool_calls": [call]})
        messages.append({"role": "tool", "tool_call_id": f"call_{turn:04}", "content": f'line {turn}: "{SENTENCE * 11}{"-" * 40}"\n'})
    return messages


def cpu_us(job: Job, cpu_s: float) -> float:
    return cpu_s / job.count * 1e6


def cpu_us_per_chunk(job: Job, cpu_s: float) -> float:
    return cpu_us(job, cpu_s) / PACED_CHUNKS


def per_second(job: Job, cpu_s: float) -> float:
    return job.count / job.elapsed_s


def latency_ms(job: Job, cpu_s: float) -> float:
    return median(job.latencies_s) * 1e3


def first_byte_ms(job: Job, cpu_s: float) -> float:
    return median(job.first_bytes_s) * 1e3


@dataclass(frozen=True, slots=True)
class Scenario:
    """`count` requests over `connections` connections, and what is read from a run. A count is (full, quick).

    `asked_of_relay`: where the product translates or remembers, what makes the provider give the relay the same answer.
    """

    name: str
    payload: bytes
    connections: int
    count: tuple[int, int]
    rounds: tuple[int, int]
    figures: dict[str, Callable[[Job, float], float]]
    spread_s: float = 0.0
    asked_of_relay: bytes | None = None


@dataclass(frozen=True, slots=True)
class Slope:
    """What each chunk of a long stream costs beyond a short one's: two scenarios' figures, subtracted. `most`: what it may add."""

    name: str
    long: str
    short: str
    figure: str
    chunks: int
    most: float


SMALL, AGENT = request(UNARY), request(UNARY, messages=agent_history())
BURSTING, PACING = request(BURST, stream=True), request(PACED, stream=True)

SCENARIOS = [
    Scenario("unary, 32 at once", SMALL, 32, (4000, 1000), (5, 2), {"CPU us/request": cpu_us, "requests/s": per_second}),
    Scenario("unary, one at a time", SMALL, 1, (1000, 300), (5, 3), {"latency p50 ms": latency_ms}),
    Scenario("90 KB agent body, 8 at once", AGENT, 8, (800, 200), (5, 2), {"CPU us/request": cpu_us, "requests/s": per_second}),
    Scenario("90 KB agent body, one at a time", AGENT, 1, (400, 150), (5, 3), {"latency p50 ms": latency_ms}),
    Scenario("100 SSE chunks in a burst, 8 at once", BURSTING, 8, (1000, 250), (5, 2), {"CPU us/stream": cpu_us}),
    Scenario(
        "100 SSE chunks, one at a time", BURSTING, 1, (300, 100), (5, 3), {"first byte p50 ms": first_byte_ms, "whole p50 ms": latency_ms}
    ),
    Scenario(
        "400 streams of 50 chunks, 20 a second each",
        PACING,
        400,
        (400, 400),
        (4, 2),
        {"CPU us/chunk": cpu_us_per_chunk, "first byte p50 ms": first_byte_ms},
        spread_s=1.0,
    ),
    Scenario(
        "chat -> Claude, unary, 32 at once",
        request(CLAUDE_UNARY),
        32,
        (4000, 1000),
        (9, 3),  # a ratio is judged: more runs than the others have, so that a busy machine's worst do not decide
        {"CPU us/request": cpu_us},
        asked_of_relay=message(CLAUDE_UNARY),
    ),
    *(
        Scenario(name, asked, 8, (1000, 250), (5, 2), {"CPU us/stream": cpu_us}, asked_of_relay=of_relay)
        for name, asked, of_relay in (
            ("chat -> Claude, 100 chunks", request(CLAUDE_BURST, stream=True), message(CLAUDE_BURST, stream=True)),
            ("chat -> Claude, 1 chunk", request(CLAUDE_SHORT, stream=True), message(CLAUDE_SHORT, stream=True)),
            ("messages -> OpenAI, 100 chunks", message(BURST, stream=True), BURSTING),
            ("messages -> OpenAI, 1 chunk", message(SHORT, stream=True), request(SHORT, stream=True)),
        )
    ),
    Scenario(
        "a hit in the cache, 32 at once",
        request(UNARY, cache_enabled=True),
        32,
        (4000, 1000),
        (5, 2),
        {"CPU us/request": cpu_us, "requests/s": per_second},
        asked_of_relay=SMALL,
    ),
    # Never kept, and so shared each time anew by those who ask at the moment.
    Scenario(
        "20 identical at once, sharing calls",
        request(UNARY, cache_enabled=True, cache_ttl=0),
        20,
        (4000, 1000),
        (5, 2),
        {"CPU us/request": cpu_us, "requests/s": per_second},
        asked_of_relay=SMALL,
    ),
]

# In front of a product that tries the unreachable provider anew each time: by itself it would leave it alone after five failures.
UNREACHABLE = """\
[breaker]
failures = 0
[retry]
enabled = false
[providers.unreachable]
base_url = "http://127.0.0.1:1/v1"
auth = "none"
models = ["unreachable"]
"""
FALLBACK = [
    Scenario(
        "fallback after a refused connection, 32",
        request("unreachable", fallback_models=[UNARY]),
        32,
        (4000, 1000),
        (5, 2),
        {"CPU us/request": cpu_us, "requests/s": per_second},
        asked_of_relay=SMALL,
    )
]

# 12 us: a small part of what a chunk of a paced stream costs in any gateway (35 to 50 us, measured).
SLOPES = [
    Slope(f"{pair}, each chunk more", f"{pair}, 100 chunks", f"{pair}, 1 chunk", "CPU us/stream", BURST_CHUNKS - 1, 12.0)
    for pair in ("chat -> Claude", "messages -> OpenAI")
]
# A translated call beside a relay of the provider's own bytes.
MOST_TRANSLATED = 2.2
TRANSLATED = "chat -> Claude, unary, 32 at once"
# A hit beside the product's own relayed call.
MOST_HIT = 0.5
HIT, RELAYED = "a hit in the cache, 32 at once", "unary, 32 at once"

Figures = dict[tuple[str, str], dict[str, list[float]]]


async def measure(scenario: Scenario, server: Server, payload: bytes, count: int, body_bytes: int) -> Iterator[tuple[str, float]]:
    async with Pool(server.port, scenario.connections) as pool:
        # Both sides' connections are open before the clock starts.
        await pool.run(SMALL, scenario.connections)
        server.drain()
        before = server.cpu_s()
        job = await pool.run(payload, count, body_bytes, scenario.spread_s)
        server.drain()
        spent = server.cpu_s() - before
    return ((name, figure(job, spent)) for name, figure in scenario.figures.items())


def say(what: str) -> None:
    """What goes on now, to a person who waits."""
    if sys.stderr.isatty():
        print(f"{what:60}", end="\r", file=sys.stderr, flush=True)


async def run(servers: list[Server], provider_port: int, quick: bool, scenarios: list[Scenario]) -> Figures:
    figures: Figures = defaultdict(lambda: defaultdict(list))
    for scenario in scenarios:
        say(f"  {scenario.name} ...")
        payloads = {server.name: scenario.payload for server in servers}
        if scenario.asked_of_relay is not None:
            payloads["bare relay"] = scenario.asked_of_relay
        expected = {}
        for server in servers:
            # A translated answer has a length of its own: the first one's. What is kept is kept from here on.
            own = payloads[server.name] is not payloads["bare relay"]
            async with Pool(server.port if own else provider_port, 1) as pool:
                expected[server.name] = (await pool.run(payloads[server.name], 1)).last_body_bytes
        for turn in range(scenario.rounds[quick]):
            for server in servers if turn % 2 else reversed(servers):
                for name, value in await measure(scenario, server, payloads[server.name], scenario.count[quick], expected[server.name]):
                    figures[scenario.name, name][server.name].append(value)
        say("")
    return figures


METHOD = """\
Provider, relay, product and load are four processes on loopback, connections kept alive. The product runs with its default
configuration (for the fallback: without a breaker) and records every call in SQLite. CPU is the kernel's count for the process and
all its threads, taken when its writer has nothing left to write. Runs alternate; figures are medians over {rounds} runs, of the
translated call over {translated}; every answer's bytes are counted."""


# Chosen by what a reader of a stream takes for a pause, and by what an app with a thousand calls a second sends of them.
LONGEST_STALL_MS, SPANS_PER_CPU_S = 20, 3000


def report_spans(spans: list[Spans]) -> None:
    print(f"\n{f'a batch of {SPANS} spans of 10 KB':44} {'stall ms':>10} {'without':>10} {'answered ms':>12} {'spans/CPU s':>12}")
    for told in spans:
        print(f"{told.encoding:44} {told.stall_ms:10.1f} {told.still_ms:10.1f} {told.answered_ms:12.1f} {told.spans_per_cpu_s:12.0f}")
    print(f"{'':44} target: stalls under {LONGEST_STALL_MS} ms, at least {SPANS_PER_CPU_S} spans per second of CPU")


# Chosen by what a person who clicks takes for at once.
OPENED_MS = 300


def report_trace(told: Opening) -> None:
    print(f"\n{f'a trace of {TRACE_SPANS} spans of 1 KB':44} {'opened ms':>10} {'CPU ms':>10} {'MB':>12} {'list ms':>12}")
    print(f"{'GET /api/traces/{id}/':44} {told.opened_ms:10.1f} {told.cpu_ms:10.1f} {told.megabytes:12.1f} {told.listed_ms:12.1f}")
    print(f"{'':44} target: opened in under {OPENED_MS} ms")


def report(figures: Figures, quick: bool) -> None:
    print(f"{'':44} {'':18} {'bare relay':>11} {'product':>11} {'ratio':>7} {'added':>9}   spread")
    said = ""
    for (scenario, figure), values in figures.items():
        relay, product = median(values["bare relay"]), median(values["product"])
        ratios = [theirs / bare for bare, theirs in zip(values["bare relay"], values["product"], strict=True)]
        name = "" if scenario == said else scenario
        compared = f"{relay:11.2f} {product:11.2f} {product / relay:7.2f} {product - relay:9.2f}   {min(ratios):.2f} to {max(ratios):.2f}"
        print(f"{name:44} {figure:18} {compared}")
        said = scenario
    print()
    for slope in SLOPES:
        long, short = figures[slope.long, slope.figure], figures[slope.short, slope.figure]
        cost = {server: (median(long[server]) - median(short[server])) / slope.chunks for server in ("bare relay", "product")}
        added = cost["product"] - cost["bare relay"]
        compared = f"{cost['bare relay']:11.2f} {cost['product']:11.2f} {'':7} {added:9.2f}"
        print(f"{slope.name:44} {'CPU us/chunk':18} {compared}   target: under {slope.most:.0f} added")
    translated = figures[TRANSLATED, "CPU us/request"]
    ratio = median(translated["product"]) / median(translated["bare relay"])
    print(f"{'a translated call beside a bare relay':44} {'ratio':18} {'':23} {ratio:7.2f} {'':9}   target: under {MOST_TRANSLATED}")
    hit, relayed = figures[HIT, "CPU us/request"]["product"], figures[RELAYED, "CPU us/request"]["product"]
    ratio = median(hit) / median(relayed)
    print(f"{'a hit beside a relayed call':44} {'ratio':18} {'':23} {ratio:7.2f} {'':9}   target: under {MOST_HIT}")
    libraries = ", ".join(f"{name} {version(name)}" for name in ("aiohttp", "uvloop", "orjson", "aiosqlite"))
    print(f"\nPython {platform.python_version()}, {libraries}; {os.cpu_count()} processors, {platform.system()} {platform.release()}")
    print(METHOD.format(rounds="2 or 3" if quick else "4 or 5", translated=3 if quick else 9))


def main() -> None:
    if not Path("/proc/self/stat").exists():
        sys.exit("the figures come from /proc, which this system does not have; run it on Linux")
    arguments = argparse.ArgumentParser(prog="make bench", description=__doc__)
    arguments.add_argument("--quick", action="store_true", help="fewer requests and runs: about a minute")
    quick: bool = arguments.parse_args().quick
    with tempfile.TemporaryDirectory(prefix="respan-bench-") as folder:
        home = Path(folder)
        provider_port, relay_port = free_port(), free_port()
        upstream = f"http://127.0.0.1:{provider_port}"

        def relay_command() -> list[str]:
            return python("bench.bare_relay", str(relay_port), upstream)

        def product_command(port: int, *arguments: str) -> list[str]:
            return [*python("respan_proxy", "--listen", f"127.0.0.1:{port}", *arguments), upstream]

        unreachable = home / "unreachable.toml"
        unreachable.write_text(UNREACHABLE)

        figures: Figures = defaultdict(lambda: defaultdict(list))
        with started("provider", python("bench.fake_provider", str(provider_port)), provider_port, home):
            for _ in range(2 if quick else 4):
                port = free_port()
                with (
                    started("bare relay", relay_command(), relay_port, home) as relay,
                    started("product", product_command(port), port, home) as product,
                ):
                    for server in (relay, product):
                        figures["start-up", "to healthy s"][server.name].append(server.started_in_s)
                        figures["memory", "idle MB"][server.name].append(server.memory_mb("VmRSS"))
            port = free_port()
            with (
                started("bare relay", relay_command(), relay_port, home) as relay,
                started("product", product_command(port), port, home, rows_queued) as product,
            ):
                loaded = uvloop.run(run([relay, product], provider_port, quick, SCENARIOS))
                for server in (relay, product):
                    figures["memory", "loaded, most MB"][server.name].append(server.memory_mb("VmHWM"))
            port = free_port()
            with (
                started("bare relay", relay_command(), relay_port, home) as relay,
                started("product", product_command(port, "--config", str(unreachable)), port, home, rows_queued) as product,
            ):
                loaded |= uvloop.run(run([relay, product], provider_port, quick, FALLBACK))
            port = free_port()
            with started("product", product_command(port), port, home, rows_queued) as product:
                say("  spans ...")
                spans = uvloop.run(measure_spans(port, product.cpu_s, PACING, 2 if quick else 5))
                say("  a trace ...")
                opening = measure_trace(port, product.cpu_s, 5 if quick else 15)
                say("")
        report({**loaded, **figures}, quick)
        report_spans(spans)
        report_trace(opening)


if __name__ == "__main__":
    main()
