"""The `inject` command: the admission webhook from its flags to its end."""

import argparse
import asyncio
import logging
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sidecar.access.certificate import Certificate, CertificateError
from sidecar.config import forms
from sidecar.kubernetes import injection
from sidecar.kubernetes.injection import InjectionError
from sidecar.kubernetes.webhook import Webhook

PROGRAM = "token-budget-sidecar inject"
WRONG = 2  # as argparse itself exits for a wrong flag
FAILED = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""

    def flag(name: str, form: Callable[[str], Any], written: str, meaning: str, **more: Any) -> None:
        if "default" in more:
            meaning += " (default: %(default)s)"
        parser.add_argument(name, type=_stated(form), metavar=written, help=meaning, **more)

    flag("--certificate", Path, "FILE", "the certificate, PEM; read again when it changes", required=True)
    flag("--key", Path, "FILE", "the certificate's key, PEM", required=True)
    flag("--injection", Path, "FILE", "what is injected, JSON; without it, what the chart injects by default")
    flag("--listen", forms.host_port, "HOST:PORT", "where the webhook listens", default="0.0.0.0:8443")
    flag(
        "--telemetry",
        forms.host_port,
        "HOST:PORT",
        "where /metrics and the health checks listen",
        default="0.0.0.0:9464",
    )
    flag("--look-every", forms.duration, "DURATION", "how often to look for a new certificate", default="2s")
    flag("--drain", forms.duration, "DURATION", "how long to serve on after SIGTERM", default="5s")
    flag(
        "--log-level", forms.choice("debug", "info", "warning", "error"), "LEVEL", "how much is logged", default="info"
    )


def _stated(form: Callable[[str], Any]) -> Callable[[str], Any]:
    """The form, with its rule in the words that argparse shows."""

    def read(text: str) -> Any:
        try:
            return form(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f'{error}, not "{text}"') from None

    return read


async def run(args: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT; give the exit code."""
    logging.basicConfig(
        level=args.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr
    )
    try:
        webhook = Webhook(injection.load(args.injection), Certificate(args.certificate, args.key))
    except (InjectionError, CertificateError) as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return WRONG
    stopped = asyncio.Event()
    loop, signals = asyncio.get_running_loop(), (signal.SIGTERM, signal.SIGINT)
    for number in signals:
        loop.add_signal_handler(number, stopped.set)
    try:
        async with webhook.serving(args.listen, args.telemetry, look_every=args.look_every) as urls:
            for name, url in urls.items():
                print(f"{name:<10} {url}", flush=True)
            await stopped.wait()
            for number in signals:  # a second signal ends it at once
                loop.remove_signal_handler(number)
            # The API server learns late that this pod has gone; until it has, its calls are answered.
            webhook.ready = False
            await asyncio.sleep(args.drain)
    except OSError as error:
        print(f"{PROGRAM}: {error.strerror or error}", file=sys.stderr)
        return FAILED
    return 0
