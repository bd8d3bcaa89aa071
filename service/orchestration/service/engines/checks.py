"""Everything that can be wrong with a request for an engine, found in one pass."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping

from orchestration.service.engines.artifacts import form_of, problem_with, tag_of
from orchestration.service.engines.base import ConfigurationIssue, EngineRequest
from orchestration.service.engines.common_keys import COMMON_KEYS
from orchestration.service.engines.engine import Engine, Settings
from orchestration.service.engines.keys import Key, KeyValueError, Setting

_PROVIDER_VARIABLES = ("PORT", "HOST", "MODEL")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def check(engine: Engine, request: EngineRequest) -> tuple[Settings, tuple[ConfigurationIssue, ...]]:
    """The configuration as its keys' types, and every issue of the request; the settings hold what was right."""
    settings, issues = _settings(engine, request.configuration)
    issues += _model_issues(engine, request)
    issues += _common_issues(engine, settings)
    issues += _variable_issues(engine, request, settings)
    issues += _gpu_issues(engine, request, settings)
    if not any(issue.field == "inference_model" for issue in issues):
        issues += engine.rules(request, settings)
    return settings, tuple(issues)


def _settings(engine: Engine, given: Mapping[str, object]) -> tuple[dict[str, Setting], list[ConfigurationIssue]]:
    keys = {key.name: key for key in (*engine.keys, *COMMON_KEYS)}
    settings: dict[str, Setting] = {}
    issues: list[ConfigurationIssue] = []
    for name, value in given.items():
        key = keys.get(name)
        if key is None:
            issues.append(_issue(name, _unknown(engine, name, keys)))
            continue
        try:
            settings[name] = key.check(value)
        except KeyValueError as error:
            issues.append(_issue(name, str(error)))
    return settings, issues


def _unknown(engine: Engine, name: str, keys: Mapping[str, Key]) -> str:
    near = difflib.get_close_matches(name.lower().replace("-", "_"), keys, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    return f"is no key of engine {engine.name}; {hint}its keys are {', '.join(keys)}"


def _model_issues(engine: Engine, request: EngineRequest) -> list[ConfigurationIssue]:
    issues: list[ConfigurationIssue] = []
    if request.workload_type not in engine.workload_types:
        served = ", ".join(engine.workload_types)
        text = f"got {request.workload_type!r}, but engine {engine.name} serves {served}"
        issues.append(ConfigurationIssue(field="workload_type", description=text))
    if not request.model and engine.name == "custom":
        return issues
    problem = problem_with(request.model)
    if not problem and (form := form_of(request.model)) not in engine.forms:
        taken = ", ".join(known.example for known in engine.forms)
        problem = f"engine {engine.name} cannot load {request.model!r} ({form.value}); it loads {taken}"
    elif not problem and not engine.takes_tag and (tag := tag_of(request.model)):
        problem = f"got {request.model!r}, but engine {engine.name} knows no tags; leave out :{tag}, or use revision"
    if problem:
        issues.append(ConfigurationIssue(field="inference_model", description=problem))
    return issues


def _common_issues(engine: Engine, settings: Settings) -> list[ConfigurationIssue]:
    issues: list[ConfigurationIssue] = []
    path = settings.get("health_path", "")
    if isinstance(path, str) and path and not path.startswith("/"):
        issues.append(_issue("health_path", f'got "{path}", wants a path that begins with "/", or an empty string'))
    command = settings.get("command")
    if isinstance(command, tuple) and not (command and command[0].strip()):
        issues.append(_issue("command", "is empty; its first word is the program to run, so leave it out or name one"))
    args = settings.get("args", ())
    return issues + _args_issues(engine, args if isinstance(args, tuple) else ())


def _args_issues(engine: Engine, args: Iterable[str]) -> list[ConfigurationIssue]:
    if not engine.takes_args:
        text = f"engine {engine.name} takes no arguments; use its keys, or env"
        return [_issue("args", text)] if tuple(args) else []
    issues: list[ConfigurationIssue] = []
    for index, word in enumerate(args):
        flag = word.split("=", 1)[0]
        if flag in engine.own_flags:
            text = f"{flag} is set from the deployment; leave it out" + _key_for(engine, flag)
            issues.append(_issue(f"args[{index}]", text))
    return issues


def _key_for(engine: Engine, flag: str) -> str:
    name = flag.lstrip("-").replace("-", "_")
    return f", and use configuration.{name}" if name in {key.name for key in (*COMMON_KEYS, *engine.keys)} else ""


def _variable_issues(engine: Engine, request: EngineRequest, settings: Settings) -> list[ConfigurationIssue]:
    configured = settings.get("env", {})
    sources: list[tuple[str, Mapping[str, str]]] = [("env", request.env)]
    if isinstance(configured, Mapping):
        sources.append(("configuration.env", configured))
    issues: list[ConfigurationIssue] = []
    for field, variables in sources:
        for name in variables:
            if not _VARIABLE.fullmatch(name):
                text = "is no name of a variable; letters, digits and _ are, not beginning with a digit"
            elif name in {*_PROVIDER_VARIABLES, *engine.own_variables}:
                text = f"is set for every replica of engine {engine.name}; leave it out"
            else:
                continue
            issues.append(ConfigurationIssue(field=f"{field}.{name}", description=text))
    return issues


def _gpu_issues(engine: Engine, request: EngineRequest, settings: Settings) -> list[ConfigurationIssue]:
    wanted = settings.get(engine.gpu_key)
    if not isinstance(wanted, int) or request.gpu_per_replica == 0 or wanted <= request.gpu_per_replica:
        return []
    text = f"got {wanted}, but a replica has gpu_per_replica = {request.gpu_per_replica}; it can be no more"
    return [_issue(engine.gpu_key, text)]


def _issue(key: str, description: str) -> ConfigurationIssue:
    return ConfigurationIssue(field=f"configuration.{key}", description=description)
