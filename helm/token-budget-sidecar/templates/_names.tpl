{{- define "token-budget-sidecar.name" -}}
{{ default .Chart.Name .Values.nameOverride | trunc 52 | trimSuffix "-" }}
{{- end }}

{{/* At most 52 characters, so that a suffix still fits into a label. */}}
{{- define "token-budget-sidecar.fullname" -}}
{{- $name := include "token-budget-sidecar.name" . -}}
{{- $both := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{ default $both .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- end }}

{{- define "token-budget-sidecar.labels" -}}
{{ include "token-budget-sidecar.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "token-budget-sidecar.selectorLabels" -}}
app.kubernetes.io/name: {{ include "token-budget-sidecar.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "token-budget-sidecar.image" -}}
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ default $.Chart.AppVersion .tag }}{{ end }}
{{- end }}
{{- end }}

{{- define "token-budget-sidecar.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{ default (printf "%s-injector" (include "token-budget-sidecar.fullname" .)) .Values.serviceAccount.name }}
{{- else -}}
{{ default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{/* `true` if a value of true, false or auto comes to yes: auto is yes for a chart that is installed by itself. */}}
{{- define "token-budget-sidecar.yes" -}}
{{- $value := toString (first .) -}}
{{- $alone := not (contains "/charts/" (last .).Template.BasePath) -}}
{{- if or (eq $value "true") (and (eq $value "auto") $alone) }}true{{ end }}
{{- end }}
