"""`orchestration model ...`: the model registry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from orchestration.service.cli import options
from orchestration.service.cli.options import DEFAULT_SERVER, Output

if TYPE_CHECKING:
    from orchestration.v1.model_registry_pb2 import Model

app = typer.Typer(help="The model registry: versions of models, which never change.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME")]


@app.command("register")
def register(
    name: Name,
    version: Annotated[str, typer.Argument(metavar="VERSION")],
    backend: Annotated[str, typer.Option(help="The engine that runs it, such as vllm or llamacpp.")],
    artifact: Annotated[
        str, typer.Option(help="Hub id, or hf://, s3://, gs://, https://, oci://, ollama://, file://.")
    ],
    configuration: options.Configuration = "",
    setting: options.Settings = None,
    digest: Annotated[str, typer.Option(help='Digest of the files, such as "sha256:...".')] = "",
    label: options.Labels = None,
    request_id: options.RequestId = "",
    server: options.Server = DEFAULT_SERVER,
    output: options.Format = Output.TABLE,
    timeout: options.Timeout = 30.0,
) -> None:
    """Register a version of a model."""
    from orchestration.service.cli import values
    from orchestration.service.cli.client import MODELS, connect
    from orchestration.service.cli.output import say
    from orchestration.v1 import model_registry_pb2 as pb

    request = pb.RegisterModelRequest(
        model_name=name,
        model_version=version,
        backend=backend,
        artifact_uri=artifact,
        artifact_digest=digest,
        labels=values.pairs("--label", label),
        request_id=request_id,
    )
    given = values.configuration(configuration, setting)
    if given.fields:
        request.config_json.CopyFrom(given)
    with connect(server, timeout) as client:
        reply = client.call(MODELS + "RegisterModel", request, pb.RegisterModelResponse)
    say(reply, output, f"registered {name}:{version} as {reply.model_id}")


@app.command("get")
def get(
    name: Name,
    version: Annotated[str, typer.Argument(metavar="VERSION", help='A version, or "latest".')] = "latest",
    server: options.Server = DEFAULT_SERVER,
    output: options.Format = Output.TABLE,
    timeout: options.Timeout = 30.0,
) -> None:
    """Show a version; without one the newest."""
    from orchestration.service.cli.client import MODELS, connect
    from orchestration.v1 import model_registry_pb2 as pb

    request = pb.GetModelRequest(model_name=name, model_version=version)
    with connect(server, timeout) as client:
        model = client.call(MODELS + "GetModel", request, pb.Model)
    _show(model, output)


@app.command("list")
def list_models(
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="Only this model's versions.")] = "",
    limit: options.Limit = 100,
    server: options.Server = DEFAULT_SERVER,
    output: options.Format = Output.TABLE,
    timeout: options.Timeout = 30.0,
) -> None:
    """List registered versions, newest first."""
    from orchestration.service.cli.client import MODELS, connect, fetch_pages
    from orchestration.service.cli.output import age, print_list
    from orchestration.v1 import model_registry_pb2 as pb

    request = pb.ListModelsRequest(model_name=name)
    with connect(server, timeout) as client:
        reply = fetch_pages(
            lambda: client.call(MODELS + "ListModels", request, pb.ListModelsResponse),
            request,
            lambda page: len(page.models),
            limit,
        )
    print_list(
        reply,
        output,
        reply.models,
        (
            ("MODEL ID", lambda model: model.model_id),
            ("NAME", lambda model: model.model_name),
            ("VERSION", lambda model: model.model_version),
            ("ENGINE", lambda model: model.backend),
            ("ARTIFACT", lambda model: model.artifact_uri),
            ("AGE", lambda model: age(model.created_at)),
        ),
        empty="No models. Register one: orchestration model register NAME VERSION --backend vllm --artifact HUB_ID",
    )


@app.command("delete")
def delete(
    name: Name,
    version: Annotated[str, typer.Argument(metavar="VERSION")],
    request_id: options.RequestId = "",
    server: options.Server = DEFAULT_SERVER,
    output: options.Format = Output.TABLE,
    timeout: options.Timeout = 30.0,
) -> None:
    """Delete a version that no live deployment uses."""
    from orchestration.service.cli.client import MODELS, connect
    from orchestration.service.cli.output import say
    from orchestration.v1 import model_registry_pb2 as pb

    request = pb.DeleteModelRequest(model_name=name, model_version=version, request_id=request_id)
    with connect(server, timeout) as client:
        reply = client.call(MODELS + "DeleteModel", request, pb.DeleteModelResponse)
    say(reply, output, f"deleted {name}:{version}")


def _show(model: Model, output: Output) -> None:
    import json

    from google.protobuf.json_format import MessageToDict

    from orchestration.service.cli.output import clock, print_record

    settings = MessageToDict(model.config_json)
    print_record(
        model,
        output,
        (
            ("model_id", model.model_id),
            ("name", model.model_name),
            ("version", model.model_version),
            ("engine", model.backend),
            ("artifact", model.artifact_uri),
            ("digest", model.artifact_digest),
            ("configuration", json.dumps(settings) if settings else ""),
            ("labels", ", ".join(f"{key}={value}" for key, value in sorted(model.labels.items()))),
            ("registered", clock(model.created_at)),
        ),
    )
