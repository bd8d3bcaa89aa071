#!/bin/bash
# Builds kube-apiserver, kube-controller-manager and kube-scheduler below a folder, of Debian's source package of Kubernetes
# (1.20, the last that holds them): no registry has them built. For Debian 12, as root. Takes ten minutes on two cores, and
# 3 GB; only bin/ is needed afterwards.
set -euo pipefail

folder=$(realpath -m "${1:?usage: build_control_plane.sh FOLDER}")
go=/usr/lib/go-1.19/bin
mkdir -p "$folder/bin" "$folder/lists/partial"

apt-get update -qq
apt-get install -y -qq --no-install-recommends golang-1.19-go golang-github-modern-go-reflect2-dev dpkg-dev rsync jq make \
  gcc libc6-dev >/dev/null
# Not installed: that would start it.
(cd "$folder" && apt-get -o APT::Sandbox::User=root download -qq etcd-server && dpkg -x etcd-server_*.deb etcd)
cp "$folder/etcd/usr/bin/etcd" "$folder/bin/etcd"

# The same archive, asked for sources, in a list of its own.
sed 's/^Types: .*/Types: deb-src/' /etc/apt/sources.list.d/debian.sources >"$folder/sources.sources"
source_apt=(apt-get -o "Dir::Etc::SourceList=$folder/sources.sources" -o Dir::Etc::SourceParts=/dev/null
  -o "Dir::State::lists=$folder/lists" -o APT::Sandbox::User=root)
"${source_apt[@]}" update -qq
if [ ! -d "$folder/go/src/k8s.io/kubernetes" ]; then
  mkdir -p "$folder/go/src/k8s.io"
  (cd "$folder" && "${source_apt[@]}" source -qq kubernetes && mv kubernetes-1.20*/ go/src/k8s.io/kubernetes)
fi

cd "$folder/go/src/k8s.io/kubernetes"
# The vendored one panics when it is built by a Go that is newer than it.
rm -rf vendor/github.com/modern-go/reflect2
cp -rL /usr/share/gocode/src/github.com/modern-go/reflect2 vendor/github.com/modern-go/reflect2
export PATH="$go:$PATH" GO111MODULE=off GOFLAGS= GOPATH="$folder/go" GOCACHE="${GOCACHE:-$folder/cache}"
nice make generated_files
for name in kube-apiserver kube-controller-manager kube-scheduler; do
  nice go build -p 2 -o "$folder/bin/$name" "./cmd/$name"
  echo "built $folder/bin/$name"
done
