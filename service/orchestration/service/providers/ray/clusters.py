"""All clusters of the provider, asked as one."""

from __future__ import annotations

import asyncio
import re

import structlog

from orchestration.service.providers.base import CapacityError, InstanceRejectedError, InstanceSpec, ProviderError
from orchestration.service.providers.ray.answers import OWNER, Job
from orchestration.service.providers.ray.cluster import Cluster
from orchestration.service.providers.ray.rooms import Room
from orchestration.service.providers.ray.settings import DEFAULT_CLUSTER
from orchestration.service.providers.ray.spreading import span_of

log = structlog.get_logger(__name__)

_NODE = re.compile(r"[0-9a-f]{12}")


class Clusters:
    """All clusters of the provider."""

    def __init__(self, clusters: list[Cluster]) -> None:
        self.all = clusters
        self._where: dict[str, Cluster] = {}
        """By job, the cluster that it was last seen on."""

    def by_name(self, name: str) -> Cluster | None:
        """The cluster of this name, or title."""
        return next((item for item in self.all if name in {item.settings.name, item.settings.title}), None)

    def of_spec(self, spec: InstanceSpec) -> Cluster:
        """The cluster that a replica is to run on: its pool's, or that of the node that was chosen.

        Raises `InstanceRejectedError` when there is no such cluster, and `CapacityError` when the node is one that the
        pool does not mean: its own may not be among the offers just now.
        """
        named, pool = spec.provider_credential_name, spec.provider_pool_id
        of_node = spec.resource_id.rpartition("/")[0]
        cluster = self.by_name(named or of_node or (pool if self.by_name(pool) else ""))
        if cluster is None:
            raise self._unknown("UNKNOWN_CREDENTIAL", f"provider_credential_name {named or DEFAULT_CLUSTER!r} is none")
        if spec.resource_id and of_node != cluster.settings.name:
            raise _elsewhere(
                spec, f"provider_credential_name is {named!r}: its provider_pool_id should name that cluster"
            )
        if pool and pool not in {cluster.settings.title, spec.resource_id}:
            if self.by_name(pool) is None and not _NODE.fullmatch(pool.rpartition("/")[2]):
                raise self._unknown("UNKNOWN_PROVIDER_POOL", f"provider_pool_id {pool!r} is no node, and none")
            raise _elsewhere(spec, f"provider_pool_id is {pool!r}")
        return cluster

    def meant(self, pool: str, credential: str) -> list[tuple[Cluster, str]]:
        """The clusters that replicas of such a pool may run on; with each the node that alone is meant, empty: all.

        ``pool``: its ``provider_pool_id``. Raises `InstanceRejectedError` when it names none that there is.
        """
        chosen = [self.by_name(credential)] if credential else self.all
        found = [cluster for cluster in chosen if cluster is not None]
        if not found:
            raise self._unknown("UNKNOWN_CREDENTIAL", f"provider_credential_name {credential!r} is none")
        if not pool:
            return [(cluster, "") for cluster in found]
        if (named := self.by_name(pool)) is not None:
            return [(named, "")] if named in found else []
        of_cluster, _, name = pool.rpartition("/")
        several = span_of(pool) is not None
        if not several and not _NODE.fullmatch(name):
            raise self._unknown("UNKNOWN_PROVIDER_POOL", f"provider_pool_id {pool!r} is no node, and none")
        return [(cluster, "" if several else pool) for cluster in found if cluster.settings.name == of_cluster]

    def _unknown(self, reason: str, what: str) -> InstanceRejectedError:
        known = ", ".join(item.settings.title for item in self.all)
        return InstanceRejectedError(reason, f"{what} of the Ray clusters of this gateway, which are {known}")

    async def find(self, name: str, owner: str) -> tuple[Cluster, Job] | None:
        """The owner's job of this name, and where it is; None when every cluster says that there is none.

        Raises `ProviderUnavailableError` when one that might have it does not answer.
        """
        known = self._where.get(name)
        if known is not None and (job := await known.api.job(name)) is not None and owned(job, owner):
            return known, job
        others = [cluster for cluster in self.all if cluster is not known]
        answers = await asyncio.gather(*(cluster.api.job(name) for cluster in others), return_exceptions=True)
        for cluster, answer in zip(others, answers, strict=True):
            if isinstance(answer, Job) and owned(answer, owner):
                self._where[name] = cluster
                return cluster, answer
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        self.forget(name)
        return None

    def note(self, name: str, cluster: Cluster) -> None:
        """Remember where a job is, so that no other cluster need be asked for it."""
        self._where[name] = cluster

    def forget(self, name: str) -> None:
        """Drop what is remembered of a job that is gone."""
        known = self._where.pop(name, None)
        if known is not None:
            known.forget(name)

    async def owned(self, owner: str) -> list[tuple[Cluster, Job]]:
        """The owner's jobs of all clusters, oldest first. Raises `ProviderUnavailableError` unless all answer."""
        lists = await asyncio.gather(*(cluster.api.jobs() for cluster in self.all))
        found = [
            (cluster, job) for cluster, jobs in zip(self.all, lists, strict=True) for job in jobs if owned(job, owner)
        ]
        return sorted(found, key=lambda item: (item[1].start_time or 0, item[1].name))

    async def rooms(self) -> list[tuple[Cluster, Room]]:
        """What is free on each cluster that answers. Raises what the first said when none does."""
        answers = await asyncio.gather(*(cluster.rooms() for cluster in self.all), return_exceptions=True)
        found: list[tuple[Cluster, Room]] = []
        failures: list[tuple[Cluster, ProviderError]] = []
        for cluster, answer in zip(self.all, answers, strict=True):
            if isinstance(answer, ProviderError):
                failures.append((cluster, answer))
            elif isinstance(answer, BaseException):
                raise answer
            else:
                found.extend((cluster, room) for room in answer)
        if len(failures) == len(self.all):
            raise failures[0][1]
        for cluster, error in failures:
            log.warning("a cluster does not tell its nodes", cluster=cluster.settings.title, error=error.message)
        return found


def _elsewhere(spec: InstanceSpec, why: str) -> CapacityError:
    return CapacityError(f"node {spec.resource_id!r} is not for the pool, whose {why}", reason="OTHER_PROVIDER_POOL")


def owned(job: Job, owner: str) -> bool:
    """Whether the job is one of this installation's."""
    return job.told(OWNER) == owner
