"""The tools whose transcripts are understood: one module each, and the list of them."""

from sidecar.lab.audit.readers.claude_code import ClaudeCode
from sidecar.lab.audit.readers.codex import Codex
from sidecar.lab.audit.readers.copilot_cli import CopilotCli
from sidecar.lab.audit.readers.pi import Pi
from sidecar.lab.audit.readers.recorded import Recorded
from sidecar.lab.audit.transcript import Reader

READERS: tuple[type[Reader], ...] = (ClaudeCode, Codex, CopilotCli, Pi, Recorded)
