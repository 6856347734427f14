"""Run what is written as a generator of calls: at once with a blocking session, or awaited with an asynchronous one."""

from collections.abc import Generator
from typing import Any, TypeVar

from sidecar.client.asynchronous import AsyncSession
from sidecar.client.blocking import Session
from sidecar.client.calls import Call
from sidecar.client.errors import ClientError

R = TypeVar("R")


def drive(session: Session, course: Generator[Call[Any], Any, R]) -> R:
    """Make each call that the course yields, and return what it returns."""
    try:
        call = next(course)
        while True:
            try:
                reply = session.run(call)
            except ClientError as error:
                call = course.throw(error)
            else:
                call = course.send(reply)
    except StopIteration as end:
        result: R = end.value
        return result


async def adrive(session: AsyncSession, course: Generator[Call[Any], Any, R]) -> R:
    """As `drive`, awaited."""
    try:
        call = next(course)
        while True:
            try:
                reply = await session.run(call)
            except ClientError as error:
                call = course.throw(error)
            else:
                call = course.send(reply)
    except StopIteration as end:
        result: R = end.value
        return result
