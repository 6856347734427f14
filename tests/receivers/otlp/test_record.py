"""What the recorder of golden payloads writes is what was sent."""

import gzip
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

RECORD = Path(__file__).parent / "record.py"
PAYLOAD = Path(__file__).parent / "payloads" / "openai-v2-default-chat.traces.0.otlp.pb"


def test_a_payload_is_written_unpacked_under_its_name_signal_and_number(tmp_path):
    command = (sys.executable, RECORD, "mine", "--port", "0", "--to", tmp_path)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as recorder:
        try:
            assert recorder.stdout is not None
            url = recorder.stdout.readline().strip()
            protobuf = {"Content-Type": "application/x-protobuf"}
            packed = urllib.request.Request(
                f"{url}/v1/traces", gzip.compress(PAYLOAD.read_bytes()), {**protobuf, "Content-Encoding": "gzip"}
            )
            for _ in range(2):
                with urllib.request.urlopen(packed, timeout=20) as answer:
                    assert answer.status == 200
            with urllib.request.urlopen(
                urllib.request.Request(f"{url}/v1/logs", b"{}", {"Content-Type": "application/json"}), timeout=20
            ):
                pass
            with pytest.raises(urllib.error.HTTPError, match="404") as refused:
                urllib.request.urlopen(urllib.request.Request(f"{url}/other", b"", protobuf), timeout=20)
            refused.value.close()
        finally:
            recorder.kill()
    written = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert written == {
        "mine.traces.0.otlp.pb": PAYLOAD.read_bytes(),
        "mine.traces.1.otlp.pb": PAYLOAD.read_bytes(),
        "mine.logs.0.otlp.json": b"{}",
    }
