{{/*
What a chart of your own includes to have the sidecar in its pods. Each takes the root context, "."; with the dependency
under an alias, take (index .Subcharts "alias") instead.

  token-budget-sidecar.initContainers     the container as a native sidecar: first in spec.initContainers
  token-budget-sidecar.containers         the same as a plain container, in spec.containers; empty while it is native
  token-budget-sidecar.volumes            in spec.volumes
  token-budget-sidecar.ports              the ports of the container
  token-budget-sidecar.podLabels          in the pod's metadata.labels: what PodMonitor and NetworkPolicy select
  token-budget-sidecar.podAnnotations     in the pod's metadata.annotations: the pod is made anew when its files change
  token-budget-sidecar.agentEnv           in the agent container's env: where the API and OTLP are
  token-budget-sidecar.agentVolumeMounts  in its volumeMounts: the Unix socket, if there is one
*/}}

{{- define "token-budget-sidecar.initContainers" -}}
{{- $root := default . (index .Subcharts "token-budget-sidecar") -}}
{{- if $root.Values.sidecar.native -}}
- {{ include "token-budget-sidecar.container" . | nindent 2 | trim }}
{{- end }}
{{- end }}

{{- define "token-budget-sidecar.containers" -}}
{{- $root := default . (index .Subcharts "token-budget-sidecar") -}}
{{- if not $root.Values.sidecar.native -}}
- {{ include "token-budget-sidecar.container" . | nindent 2 | trim }}
{{- end }}
{{- end }}

{{/* The one definition of the container: charts include it, and the injector is given it. */}}
{{- define "token-budget-sidecar.container" -}}
{{- $including := hasKey .Subcharts "token-budget-sidecar" -}}
{{- $root := default . (index .Subcharts "token-budget-sidecar") -}}
{{- $sidecar := $root.Values.sidecar -}}
{{- if and $sidecar.native (semverCompare "<1.29.0-0" .Capabilities.KubeVersion.Version) -}}
{{- fail (printf "Native sidecars need Kubernetes 1.29, and this is %s: set sidecar.native=false." .Capabilities.KubeVersion.Version) -}}
{{- end -}}
name: token-budget-sidecar
image: {{ include "token-budget-sidecar.image" $root | quote }}
imagePullPolicy: {{ $root.Values.image.pullPolicy }}
{{- if $sidecar.native }}
restartPolicy: Always
{{- end }}
args:
  - serve
ports:
  {{- include "token-budget-sidecar.ports" . | nindent 2 }}
env:
  {{- include "token-budget-sidecar.env" $root | trim | nindent 2 }}
  {{- if or $sidecar.agent $including }}
  - name: TOKEN_BUDGET_AGENT
    value: {{ default .Chart.Name $sidecar.agent | quote }}
  {{- end }}
  {{- with $sidecar.env }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- range $probe := list "startupProbe" "livenessProbe" "readinessProbe" }}
{{- with index $sidecar $probe }}
{{ $probe }}:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
resources:
  {{- toYaml $sidecar.resources | nindent 2 }}
securityContext:
  {{- toYaml $sidecar.securityContext | nindent 2 }}
volumeMounts:
  - name: token-budget-data
    mountPath: /data
  {{- if $sidecar.socket }}
  - name: token-budget-socket
    mountPath: /run/token-budget
  {{- end }}
  {{- if or $sidecar.files $sidecar.configMap }}
  - name: token-budget-config
    mountPath: /etc/token-budget
    readOnly: true
  {{- end }}
{{- end }}

{{- define "token-budget-sidecar.ports" -}}
- name: tb-metrics
  containerPort: 9464
  protocol: TCP
{{- end }}

{{- define "token-budget-sidecar.volumes" -}}
{{- $root := default . (index .Subcharts "token-budget-sidecar") -}}
{{- $sidecar := $root.Values.sidecar -}}
- name: token-budget-data
  emptyDir:
    sizeLimit: {{ $sidecar.journal.sizeLimit }}
    {{- with $sidecar.journal.medium }}
    medium: {{ . }}
    {{- end }}
{{- if $sidecar.socket }}
- name: token-budget-socket
  emptyDir:
    sizeLimit: 1Mi
{{- end }}
{{- if or $sidecar.files $sidecar.configMap }}
- name: token-budget-config
  configMap:
    name: {{ default (include "token-budget-sidecar.fullname" $root) $sidecar.configMap }}
{{- end }}
{{- end }}

{{- define "token-budget-sidecar.podLabels" -}}
token-budget.dev/sidecar: "true"
{{- end }}

{{- define "token-budget-sidecar.podAnnotations" -}}
{{- $root := default . (index .Subcharts "token-budget-sidecar") -}}
{{- with $root.Values.sidecar.files -}}
checksum/token-budget: {{ toJson . | sha256sum }}
{{- end }}
{{- end }}

{{- define "token-budget-sidecar.agentEnv" -}}
{{- $root := default . (index .Subcharts "token-budget-sidecar") -}}
{{- $sidecar := $root.Values.sidecar -}}
- name: TOKEN_BUDGET_URL
  value: {{ ternary "unix:/run/token-budget/api.sock" "http://127.0.0.1:8321" $sidecar.socket }}
{{- if $sidecar.otlp }}
- name: OTEL_EXPORTER_OTLP_ENDPOINT
  value: http://127.0.0.1:4318
- name: OTEL_EXPORTER_OTLP_PROTOCOL
  value: http/protobuf
{{- end }}
{{- end }}

{{- define "token-budget-sidecar.agentVolumeMounts" -}}
{{- $root := default . (index .Subcharts "token-budget-sidecar") -}}
{{- if $root.Values.sidecar.socket -}}
- name: token-budget-socket
  mountPath: /run/token-budget
{{- end }}
{{- end }}

{{/* Who a container is, for the resource attributes of what it exports. Takes its name. */}}
{{- define "token-budget-sidecar.podEnv" -}}
{{- range $name, $field := dict "K8S_NAMESPACE_NAME" "metadata.namespace" "K8S_NODE_NAME" "spec.nodeName" "K8S_POD_NAME" "metadata.name" "K8S_POD_UID" "metadata.uid" }}
- name: {{ $name }}
  valueFrom:
    fieldRef:
      apiVersion: v1
      fieldPath: {{ $field }}
{{- end }}
- name: OTEL_RESOURCE_ATTRIBUTES
  value: k8s.container.name={{ . }},k8s.namespace.name=$(K8S_NAMESPACE_NAME),k8s.node.name=$(K8S_NODE_NAME),k8s.pod.name=$(K8S_POD_NAME),k8s.pod.uid=$(K8S_POD_UID)
{{- end }}

{{/* Who it is, for resource attributes, and the settings. */}}
{{- define "token-budget-sidecar.env" -}}
{{- $sidecar := .Values.sidecar -}}
{{ include "token-budget-sidecar.podEnv" "token-budget-sidecar" | trim }}
{{- $settings := dict "journal" "sqlite:////data/journal.db" -}}
{{- range $name, $value := dict "mode" $sidecar.mode "preset" $sidecar.preset "total_tokens" $sidecar.totalTokens -}}
{{- if $value }}{{ $_ := set $settings $name $value }}{{ end -}}
{{- end -}}
{{- if not $sidecar.otlp }}{{ $_ := set $settings "otlp" "off" }}{{ end -}}
{{- if $sidecar.socket }}{{ $_ := set $settings "listen" "127.0.0.1:8321,unix:/run/token-budget/api.sock" }}{{ end -}}
{{- if or $sidecar.configMap (hasKey $sidecar.files "config.toml") }}{{ $_ := set $settings "config" "/etc/token-budget/config.toml" }}{{ end -}}
{{- range $name, $value := mergeOverwrite $settings (deepCopy $sidecar.settings) }}
- name: TOKEN_BUDGET_{{ upper $name }}
  value: {{ include "token-budget-sidecar.setting" $value | quote }}
{{- end }}
{{- end }}

{{/* A setting as text: whole numbers in full (Helm reads all numbers as floating), lists with commas. */}}
{{- define "token-budget-sidecar.setting" -}}
{{- if kindIs "slice" . -}}
{{ join "," . }}
{{- else if and (kindIs "float64" .) (eq (floor .) .) -}}
{{ int64 . }}
{{- else -}}
{{ . }}
{{- end }}
{{- end }}
