"""The policies that have a name.

`STANDARD` is the table of SPEC 3.1; the others are other values of the same type.
"""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from sidecar.budget.policy import (
    AdaptPolicy,
    CalibratePolicy,
    CleanupPolicy,
    ComponentPolicy,
    ElasticPolicy,
    Policy,
    Step,
    Target,
    WindowPolicy,
)

_WORKING_MEMORY: tuple[Step, ...] = ("compress_inactive", "remove_debug", "archive_tasks", "evict_lru")

STANDARD = Policy(
    name="standard",
    components=MappingProxyType(
        {
            "system_context": ComponentPolicy(share=0.10, target=Target(low=0.95, high=0.99), fixed=True),
            "working_memory": ComponentPolicy(
                share=0.30,
                target=Target(low=0.70, high=0.80),
                steps=_WORKING_MEMORY,
                above_target=_WORKING_MEMORY,
            ),
            "knowledge_base": ComponentPolicy(
                share=0.20,
                target=Target(low=0.60, high=0.75),
                steps=("unload_skills", "cache_docs", "remove_duplicates", "compress_docs"),
                above_target=("unload_skills",),
            ),
            "agent_context": ComponentPolicy(
                share=0.15,
                target=Target(low=0.70, high=0.85),
                steps=("archive_completed", "compress_idle"),
                above_target=("archive_completed",),
            ),
            "interaction_buffer": ComponentPolicy(
                share=0.25,
                target=Target(low=0.60, high=0.75),
                steps=("summarize_old", "remove_redundant", "archive"),
                above_target=("summarize_old",),
            ),
        }
    ),
)

# What is not in use can be read again: last resort of components whose own rules wait for ages.
_KNOWLEDGE: tuple[Step, ...] = (*STANDARD.components["knowledge_base"].steps, "evict_lru")
_AGENTS: tuple[Step, ...] = (*STANDARD.components["agent_context"].steps, "evict_lru")

# Coding agents fill their window with tool results and files; what falls behind is large, and old by the call rather
# than by the hour. So the window is cleaned up as a whole, rarely and well ahead, and components borrow until then.
#
# The figures are those of recorded sessions of the projects that numbers may be chosen on; sidecar/lab/backtest tells
# how they are split, what the others say, and the commands. "Needed again": of the tokens freed.
CODING_AGENT = Policy(
    name="coding-agent",
    # Beside system context 0.78 to 0.87 of what comes is working memory, the rest divides evenly. A wide share for it
    # keeps exhaustions (a component over its own, while the window has room) few; the others may borrow.
    components=MappingProxyType(
        {
            "system_context": STANDARD.components["system_context"],
            "working_memory": ComponentPolicy(share=0.70, target=Target(low=0.70, high=0.80), steps=_WORKING_MEMORY),
            "knowledge_base": ComponentPolicy(share=0.06, target=Target(low=0.60, high=0.75), steps=_KNOWLEDGE),
            "agent_context": ComponentPolicy(share=0.06, target=Target(low=0.70, high=0.85), steps=_AGENTS),
            "interaction_buffer": replace(STANDARD.components["interaction_buffer"], share=0.08, above_target=()),
        }
    ),
    cleanup=CleanupPolicy(
        extent="goal",
        large_item_tokens=2_000,  # 3 of 100 pieces are larger, and hold 61 of 100 tokens
        inactive_after_calls=60,  # 95 of 100 files read again are read again within 63 calls
        debug_after_calls=20,
        unload_after_calls=50,
        idle_after_calls=30,
        summarize_after_calls=60,
        archive_after_calls=120,
        full_text_for_calls=20,
        protect_calls=8,  # 75 of 100 files read again are read again within 8 calls; with 4: 4.1 % needed again
        minimum_gain=0.2,  # pays with 45 calls to come at a tenth of the price; without it 2 % more cache is lost
        evict_kinds=("file", "tool_result", "context", "debug", "skill", "doc", "memory", "agent", "plan", "execution"),
        evict_count=1_000,  # the goal ends it sooner
        eviction="lru",  # needed again 3.8 %; by size and age 4.5 %
        newest_copies_last=True,  # without it 5.0 % needed again
        stub_tokens=50,
    ),
    adapt=AdaptPolicy(cap=0.80),
    elastic=ElasticPolicy(on=True),
    measured_system=True,
    # In 99 of 100 model calls the window grows by at most 22,500 tokens: 0.80 leaves nearly twice that of 200,000, for
    # such a call while the ratio rises, too. A lower mark of 0.60 costs 2.6 million cached tokens in all, 0.55 costs
    # 1.9 and 0.50 costs 1.6; but at 0.50 more is needed again (4.0, 3.8 and 4.5 %).
    window=WindowPolicy(upper=0.80, lower=0.55, order="reclaimable"),
    # A prompt of few counted tokens is mostly hidden ones, whose ratio does not hold for a full one.
    calibrate=CalibratePolicy(on=True, calls=5, least_tokens=10_000),
)

_PRESETS = {policy.name: policy for policy in (STANDARD, CODING_AGENT)}
PRESETS: Mapping[str, Policy] = MappingProxyType(_PRESETS)


def add_preset(policy: Policy) -> None:
    """Make a policy known by its name in this process, for sessions opened from now on.

    A journal keeps only the name: whoever reads it later must have added the same policy before. Raises `ValueError`
    if the name is that of another policy.
    """
    if _PRESETS.setdefault(policy.name, policy) != policy:
        raise ValueError(f"there is another preset of the name {policy.name!r} already")
