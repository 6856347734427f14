"""Programs as their users write them: an agent with its instrumentation, and no word of a sidecar.

python emitting.py NAME: the endpoints come from the environment (OTEL_EXPORTER_OTLP_ENDPOINT, OPENAI_BASE_URL)
"""

import sys


def tracing():
    """What OpenTelemetry's own documentation tells to write; the exporter reads its endpoint from the environment."""
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    return provider


def pydantic_ai_test_model():
    from pydantic_ai import Agent
    from pydantic_ai.models.test import TestModel

    Agent.instrument_all()
    agent = Agent(TestModel(), name="weather_agent", instructions="Be terse.")

    @agent.tool_plain
    def wx(city: str) -> str:
        """Weather."""
        return f"sunny in {city}"

    agent.run_sync("weather in Oslo?", conversation_id="conv-42")


def pydantic_ai_openai():
    from pydantic_ai import Agent

    Agent.instrument_all()
    agent = Agent("openai-chat:gpt-4o", name="weather_agent")

    @agent.tool_plain
    def wx(city: str) -> str:
        """Weather."""
        return f"sunny in {city}"

    agent.run_sync("weather in Oslo?", conversation_id="conv-43")


def langchain_agent():
    from langchain.agents import create_agent
    from langchain_core.messages import HumanMessage
    from langchain_core.runnables import RunnableConfig
    from langchain_core.tools import tool
    from langchain_openai import ChatOpenAI
    from opentelemetry.instrumentation.genai.langchain import LangChainInstrumentor

    LangChainInstrumentor().instrument()

    @tool
    def wx(city: str) -> str:
        """Weather."""
        return f"sunny in {city}"

    agent = create_agent(ChatOpenAI(model="gpt-4o"), [wx], system_prompt="Be terse.", name="weather_agent")
    thread: RunnableConfig = {"configurable": {"thread_id": "thr-9"}}
    agent.invoke({"messages": [HumanMessage("weather in Oslo?")]}, thread)


def openai_client():
    from openai import OpenAI
    from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor

    OpenAIInstrumentor().instrument()
    client = OpenAI()
    client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "weather in Oslo?"}])


if __name__ == "__main__":
    provider = tracing()
    globals()[sys.argv[1]]()
    provider.shutdown()
