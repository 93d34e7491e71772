"""Serve gRPC: streams in both directions.

    python examples/grpc_app.py

A port of name "h2c" says that the app speaks HTTP/2, which gRPC needs. The server is any of gRPC's, here with messages
that come with protobuf; where protoc has made code, add_StationServicer_to_server adds the handlers. A client finds
the app by the host of its channel: grpc_address makes one of the app's endpoint.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
from google.protobuf.wrappers_pb2 import DoubleValue, StringValue

import flyteray as flyte
from flyteray.app import AppEnvironment, Port, Scaling, grpc_address

station = AppEnvironment(name="station", port=Port(50051, "h2c"), scaling=Scaling(replicas=1))


def mean(degrees: Iterator[DoubleValue], context: grpc.ServicerContext) -> DoubleValue:
    """One answer to a stream."""
    measured = [each.value for each in degrees]
    if not measured:
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, "nothing was measured")
    return DoubleValue(value=sum(measured) / len(measured))


def warn(degrees: Iterator[DoubleValue], context: grpc.ServicerContext) -> Iterator[StringValue]:
    """A stream that answers while another one goes on."""
    for each in degrees:
        if each.value < 0:
            yield StringValue(value=f"frost, {each.value:g} degrees")


@station.server
def serve() -> None:
    read, write = DoubleValue.FromString, DoubleValue.SerializeToString
    handlers = {
        "Mean": grpc.stream_unary_rpc_method_handler(mean, read, write),
        "Warn": grpc.stream_stream_rpc_method_handler(warn, read, StringValue.SerializeToString),
    }
    server = grpc.server(ThreadPoolExecutor())
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("weather.Station", handlers)])
    server.add_insecure_port(f"127.0.0.1:{station.get_port().port}")
    server.start()
    server.wait_for_termination()


def measure() -> Iterator[DoubleValue]:
    for degrees in (4.0, -1.5, 3.0, -3.5):
        yield DoubleValue(value=degrees)


def main() -> None:
    flyte.serve(station)
    with grpc.insecure_channel(*grpc_address(station)) as channel:
        write = DoubleValue.SerializeToString
        ask = channel.stream_unary("/weather.Station/Mean", write, DoubleValue.FromString)
        watch = channel.stream_stream("/weather.Station/Warn", write, StringValue.FromString)
        print(f"Mean:   {ask(measure(), timeout=60).value:g} degrees")
        for warning in watch(measure(), timeout=60):
            print(f"Beware: {warning.value}")
        try:
            ask(iter([]), timeout=60)
        except grpc.RpcError as error:
            print(f"Fails:  {error.code().name}: {error.details()}")


if __name__ == "__main__":
    main()
