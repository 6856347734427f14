{{/* What the injector is given: the container and volumes that charts include, and the operator's wishes. */}}
{{- define "token-budget-sidecar.injection" -}}
{{- $injection := dict
  "native" .Values.sidecar.native
  "container" (include "token-budget-sidecar.container" . | fromYaml)
  "volumes" (include "token-budget-sidecar.volumes" . | fromYamlArray)
  "defaults" .Values.injector.defaults
  "namespaces" .Values.injector.namespaces
-}}
{{ toPrettyJson $injection }}
{{- end }}

{{- define "token-budget-sidecar.injectorLabels" -}}
{{ include "token-budget-sidecar.selectorLabels" . }}
app.kubernetes.io/component: injector
{{- end }}

{{- define "token-budget-sidecar.certificateSecret" -}}
{{- if eq .Values.injector.certificate.source "existingSecret" -}}
{{ required "injector.certificate.secretName must name the Secret." .Values.injector.certificate.secretName }}
{{- else -}}
{{ include "token-budget-sidecar.fullname" . }}-injector-tls
{{- end }}
{{- end }}
