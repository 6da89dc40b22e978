{{- /* What the schema cannot say: values that contradict each other, or that nothing would heed. */ -}}
{{- define "recserve.check" -}}
{{- $values := .Values }}
{{- if and $values.autoscaling.enabled (gt (int $values.autoscaling.minReplicas) (int $values.autoscaling.maxReplicas)) }}
{{- fail (printf "autoscaling.minReplicas is %d, more than autoscaling.maxReplicas, %d" (int $values.autoscaling.minReplicas) (int $values.autoscaling.maxReplicas)) }}
{{- end }}
{{- if and $values.serve.follow (ne $values.repository.source "volume") }}
{{- fail (printf "serve.follow is of no use with repository.source %s, which does not change while a pod runs; set source to volume, or follow to false" $values.repository.source) }}
{{- end }}
{{- if and $values.repository.volume.claim (ne $values.repository.source "volume") }}
{{- fail (printf "repository.volume.claim is of no use with repository.source %s; set source to volume" $values.repository.source) }}
{{- end }}
{{- if and $values.repository.store.url (ne $values.repository.source "store") }}
{{- fail (printf "repository.store.url is of no use with repository.source %s; set source to store" $values.repository.source) }}
{{- end }}
{{- include "recserve.checkStores" $values }}
{{- include "recserve.checkEdge" $values.edge }}
{{- end }}

{{- define "recserve.checkStores" -}}
{{- $elsewhere := or (hasPrefix "valkey" .stores.state) .stores.histories }}
{{- if and .stores.secret (or .stores.state .stores.histories) }}
{{- fail "stores.secret takes the place of stores.state and stores.histories; give either" }}
{{- end }}
{{- if and .valkey.enabled (or .stores.secret (and .stores.state .stores.histories)) }}
{{- fail "valkey.enabled starts stores that nobody would ask, as stores names others; give either" }}
{{- end }}
{{- if and .network.enabled (not .network.egress) (or .stores.secret $elsewhere .traces.url) }}
{{- fail "network.egress has no rule, so that servers reach neither traces.url nor what stores names; add one for their ports" }}
{{- end }}
{{- end }}

{{- define "recserve.checkEdge" -}}
{{- if and .tlsSecret (not .enabled) }}
{{- fail "edge.tlsSecret is of no use without edge.enabled; tls.secret is that of the servers" }}
{{- end }}
{{- with .resources.limits }}
{{- with .memory }}
{{- $bytes := include "recserve.bytes" . | float64 }}
{{- if ge (mulf $.heapMegabytes 1048576.0) $bytes }}
{{- fail (printf "edge.heapMegabytes is %d, no less than edge.resources.limits.memory, %v: the pod would be killed before it takes no more" (int $.heapMegabytes) .) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- /* Bytes of a quantity of memory, as 1Gi. */ -}}
{{- define "recserve.bytes" -}}
{{- $text := toString . }}
{{- $unit := regexFind "[a-zA-Z]+$" $text }}
{{- $factors := dict "" 1.0 "k" 1e3 "K" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "P" 1e15 "m" 0.001 "Ki" 1024.0 "Mi" 1048576.0 "Gi" 1073741824.0 "Ti" 1099511627776.0 "Pi" 1125899906842624.0 }}
{{- mulf (trimSuffix $unit $text | float64) (get $factors $unit) | printf "%.0f" }}
{{- end }}
