"""Where a replica goes: credentials, context and namespace, by what the pool says and by what the policy allows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestration.service.providers.base import CapacityError, InstanceRejectedError, InstanceSpec
from orchestration.service.providers.kubernetes.kubeconfig import Cluster, KubeConfig, in_cluster
from orchestration.service.providers.kubernetes.settings import AccessSettings

ANY_ORG = "*"


@dataclass(frozen=True, slots=True)
class Place:
    """One namespace of one cluster."""

    credential: str
    context: str
    namespace: str

    def __str__(self) -> str:
        return f"{self.context}/{self.namespace}"


class Access:
    """What one set of credentials reaches."""

    def __init__(self, settings: AccessSettings) -> None:
        """Reads the kubeconfig. Raises ValueError saying what is wrong in it."""
        self.name = settings.name
        self._config = None if settings.in_cluster else KubeConfig(Path(settings.kubeconfig))
        self.clusters: dict[str, Cluster] = {}
        """By context."""
        self._default = settings.context or ("" if self._config is None else self._config.current_context)
        own = self._cluster(self._default)
        named = settings.namespaces or (own.namespace,)
        self._open = tuple(self._place(text) for text in named)
        self._orgs = {org: self._place(text) for org, text in settings.orgs.items()}

    @property
    def places(self) -> tuple[Place, ...]:
        """Every namespace that may be used, the default one first."""
        return tuple(dict.fromkeys((*self._open, *self._orgs.values())))

    def choose(self, org_id: str, wanted: str, offered: str) -> Place:
        """The namespace for a replica of the organisation.

        ``wanted``: a pool's ``provider_pool_id``; ``offered``: the place of the offer that was taken; either may be
        empty. Raises `InstanceRejectedError`.
        """
        if self._orgs:
            return self._of_org(org_id, wanted)
        if wanted:
            return self._named(wanted)
        return next((place for place in self._open if str(place) == offered), self._open[0])

    def meant(self, wanted: str) -> tuple[Place, ...]:
        """The namespaces that replicas of a pool may run in, by its ``provider_pool_id``.

        Raises `InstanceRejectedError`.
        """
        return (self._named(wanted),) if wanted else self.places

    def _of_org(self, org_id: str, wanted: str) -> Place:
        place = self._orgs.get(org_id) or self._orgs.get(ANY_ORG)
        if place is None:
            text = f"organisation {org_id!r} has no namespace: set org.{org_id or ANY_ORG} in [providers.kubernetes]"
            raise InstanceRejectedError("NAMESPACE_NOT_ALLOWED", text)
        if wanted and self._named(wanted) != place:
            text = f"replicas of organisation {org_id!r} run in {place}, and the pool's provider_pool_id is {wanted!r}"
            raise InstanceRejectedError("NAMESPACE_NOT_ALLOWED", text)
        return place

    def _named(self, text: str) -> Place:
        for place in self.places:
            if text in {str(place), place.namespace if place.context == self.places[0].context else ""}:
                return place
        known = ", ".join(str(place) for place in self.places)
        raise InstanceRejectedError(
            "UNKNOWN_PROVIDER_POOL", f"provider_pool_id {text!r} is no namespace of this gateway; there are {known}"
        )

    def _place(self, text: str) -> Place:
        context, _, namespace = text.rpartition("/")  # names of contexts may hold slashes, those of namespaces do not
        return Place(self.name, self._cluster(context or self._default).context, namespace)

    def _cluster(self, context: str) -> Cluster:
        if context not in self.clusters:
            if self._config is not None:
                self.clusters[context] = self._config.cluster(context)
            else:
                cluster = in_cluster()
                if context not in {"", cluster.context}:
                    raise ValueError(f"in_cluster has no context {context!r}")
                self.clusters[context] = cluster
        return self.clusters[context]


class Places:
    """All places by credentials."""

    def __init__(self, accesses: Iterable[AccessSettings]) -> None:
        """Raises ValueError."""
        self._accesses: Mapping[str, Access] = {item.name: Access(item) for item in accesses}

    @property
    def all(self) -> Sequence[Place]:
        """Every place."""
        return [place for access in self._accesses.values() for place in access.places]

    def cluster(self, place: Place) -> Cluster:
        """How to reach it."""
        return self._accesses[place.credential].clusters[place.context]

    def choose(self, spec: InstanceSpec, offered: str) -> Place:
        """The place for an instance. Raises `InstanceRejectedError`, and `CapacityError` for an offer elsewhere."""
        access = self._access(spec.provider_credential_name)
        place = access.choose(spec.org_id, spec.provider_pool_id, offered)
        if offered and str(place) != offered and place.context != offered.rpartition("/")[0]:
            raise CapacityError(f"the offer is one of {offered}, and the replica is to run in {place}")
        return place

    def meant(self, credential: str, wanted: str) -> Sequence[Place]:
        """The places that replicas of a pool may run in, by what the pool says. Raises `InstanceRejectedError`."""
        return self._access(credential).meant(wanted)

    def _access(self, credential: str) -> Access:
        access = self._accesses.get(credential)
        if access is None:
            known = ", ".join(repr(name) for name in self._accesses if name) or "none"
            text = f"provider_credential_name {credential!r} is not configured; there are {known}"
            raise InstanceRejectedError("UNKNOWN_CREDENTIAL", text)
        return access
