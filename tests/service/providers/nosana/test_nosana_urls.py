"""Addresses of services, against what @nosana/endpoints 2.1.6 makes."""

from __future__ import annotations

from orchestration.service.providers.nosana.urls import job_host, job_url

JOB = "Dt1aUnSv5XQJpLJCFsFbqxiPb8VzVGcc8QeXUTSDzzGm"


def test_hosts_of_jobs() -> None:
    # getExposeIdHash(job, index, port)
    assert job_host(0, 8000, JOB) == "LVWpmFoa97JK1ieit4DtEn2vFEfUPwAaJXGW1VWkmd6T"
    other = "97G9NnvBDQ2WpKu6fasoMsAKmfj63C9rhysJnkeWodAf"
    assert job_host(1, 30000, other) == "ApubYHM5U1PVHPxv2Ax5hMu9xACAK4zdtXo18D4a3GP3"


def test_the_whole_address() -> None:
    assert job_url("https://{node}.node.example", 0, 8000, JOB) == f"https://{job_host(0, 8000, JOB)}.node.example"
