{{- define "recserve.labels" -}}
app.kubernetes.io/name: recserve
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .part }}
{{- end }}

{{- define "recserve.metadata" -}}
name: {{ .root.Release.Name }}-{{ .part }}
labels:
  {{- include "recserve.labels" . | nindent 2 }}
  helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
  app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
  app.kubernetes.io/managed-by: {{ .root.Release.Service }}
{{- end }}

{{- define "recserve.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag }}{{ with .Values.image.digest }}@{{ . }}{{ end }}
{{- end }}

{{- /* What every pod of the chart is not: root, privileged, a client of the cluster's own API. */ -}}
{{- define "recserve.pod" -}}
automountServiceAccountToken: false
{{- with .root.Values.serviceAccount }}
serviceAccountName: {{ . }}
{{- end }}
enableServiceLinks: false
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: {{ .user }}
  runAsGroup: {{ .user }}
  fsGroup: {{ .user }}
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "recserve.labels" . | nindent 8 }}
{{- with .root.Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "recserve.confined" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- end }}

{{- define "recserve.state" -}}
{{- if .Values.stores.secret }}$(RECSERVE_STATE_URL)
{{- else if .Values.stores.state }}{{ .Values.stores.state }}
{{- else if .Values.valkey.enabled }}valkey://{{ .Release.Name }}-states:6379/0
{{- else }}lmdb:///data/state
{{- end }}
{{- end }}

{{- define "recserve.histories" -}}
{{- if .Values.stores.secret }}$(RECSERVE_HISTORIES_URL)
{{- else if .Values.stores.histories }}{{ .Values.stores.histories }}
{{- else if .Values.valkey.enabled }}valkey://{{ .Release.Name }}-histories:6379/0
{{- else }}lmdb:///data/histories
{{- end }}
{{- end }}

{{- define "recserve.names" -}}
- to:
    - namespaceSelector: {}
  ports:
    - port: 53
      protocol: UDP
    - port: 53
      protocol: TCP
{{- end }}

{{- define "recserve.storePort" -}}
{{- $found := regexFind ":[0-9]+$" .Values.repository.store.endpoint }}
{{- if $found }}{{ trimPrefix ":" $found }}
{{- else if hasPrefix "http://" .Values.repository.store.endpoint }}80
{{- else }}443
{{- end }}
{{- end }}
