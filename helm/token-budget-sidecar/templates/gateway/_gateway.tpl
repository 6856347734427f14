{{- define "token-budget-sidecar.gatewayLabels" -}}
{{ include "token-budget-sidecar.selectorLabels" . }}
app.kubernetes.io/component: gateway
{{- end }}

{{- define "token-budget-sidecar.gatewayName" -}}
{{ include "token-budget-sidecar.fullname" . }}-gateway
{{- end }}

{{/* The names that its service is called by, the shortest first. */}}
{{- define "token-budget-sidecar.gatewayHosts" -}}
{{- $name := include "token-budget-sidecar.gatewayName" . -}}
{{- $namespace := .Release.Namespace -}}
{{ toJson (list $name (printf "%s.%s" $name $namespace) (printf "%s.%s.svc" $name $namespace) (printf "%s.%s.svc.cluster.local" $name $namespace)) }}
{{- end }}

{{/* Whether a scrape takes TLS. */}}
{{- define "token-budget-sidecar.gatewayScheme" -}}
{{ ternary "HTTPS" "HTTP" .Values.gateway.telemetry.tls }}
{{- end }}

{{/* What must be so before anything is rendered: nobody calls a gateway that asks nobody. */}}
{{- define "token-budget-sidecar.gatewayRules" -}}
{{- $gateway := .Values.gateway -}}
{{- $asks := or $gateway.tokens.secretName $gateway.clientCa.secretName -}}
{{- if not $gateway.journal.secretName -}}
{{- fail "gateway.journal.secretName must name the Secret that has the database's URL." -}}
{{- end -}}
{{- if not (or $asks $gateway.allowUnauthenticated) -}}
{{- fail "A gateway must know who may call: set gateway.tokens.secretName or gateway.clientCa.secretName; or gateway.allowUnauthenticated, if something else (a mesh) lets only the right ones through." -}}
{{- end -}}
{{- if and $asks $gateway.allowUnauthenticated -}}
{{- fail "gateway.allowUnauthenticated contradicts gateway.tokens.secretName and gateway.clientCa.secretName: name one or the other." -}}
{{- end -}}
{{- if and $asks (not $gateway.tls.secretName) -}}
{{- fail "gateway.tls.secretName must name a Secret with tls.crt and tls.key: tokens do not go over a network as they are, and client certificates need TLS." -}}
{{- end -}}
{{- if and $gateway.tokens.secretName (not (concat $gateway.tokens.read $gateway.tokens.write $gateway.tokens.admin)) -}}
{{- fail "gateway.tokens must name keys of the Secret: read, write or admin." -}}
{{- end -}}
{{- if and $gateway.telemetry.tls (not (or $gateway.tls.secretName $gateway.telemetry.webConfig.secretName)) -}}
{{- fail "gateway.telemetry.tls needs a certificate: set gateway.tls.secretName or gateway.telemetry.webConfig.secretName." -}}
{{- end -}}
{{- if and $gateway.autoscaling.enabled (gt (int $gateway.autoscaling.minReplicas) (int $gateway.autoscaling.maxReplicas)) -}}
{{- fail "gateway.autoscaling.minReplicas must not be above gateway.autoscaling.maxReplicas." -}}
{{- end -}}
{{- end }}

{{/* What differs from pod to pod or is secret, and the settings. */}}
{{- define "token-budget-sidecar.gatewayEnv" -}}
{{- $gateway := .Values.gateway -}}
{{- $scheme := ternary "https://" "" (not (empty $gateway.tls.secretName)) -}}
{{ include "token-budget-sidecar.podEnv" "gateway" | trim }}
- name: TOKEN_BUDGET_JOURNAL
  valueFrom:
    secretKeyRef:
      name: {{ $gateway.journal.secretName }}
      key: {{ $gateway.journal.key }}
- name: TOKEN_BUDGET_REPLICA
  valueFrom:
    fieldRef:
      apiVersion: v1
      fieldPath: metadata.name
{{- $settings := dict
  "hosts" (concat (include "token-budget-sidecar.gatewayHosts" . | fromJsonArray) $gateway.hosts)
  "listen" (printf "%s0.0.0.0:8321" $scheme)
  "otlp" (ternary (printf "%s0.0.0.0:4318" $scheme) "off" $gateway.otlp)
-}}
{{- if $gateway.tls.secretName -}}
{{- $_ := set $settings "tls_certificate" "/etc/token-budget/tls/tls.crt" -}}
{{- $_ := set $settings "tls_key" "/etc/token-budget/tls/tls.key" -}}
{{- end -}}
{{- if $gateway.clientCa.secretName -}}
{{- $_ := set $settings "tls_client_ca" (printf "/etc/token-budget/client-ca/%s" $gateway.clientCa.key) -}}
{{- end -}}
{{- if $gateway.tokens.secretName -}}
{{- range $scope := list "read" "write" "admin" -}}
{{- $files := list -}}
{{- range $key := index $gateway.tokens $scope }}{{ $files = append $files (printf "/etc/token-budget/tokens/%s" $key) }}{{ end -}}
{{- if $files }}{{ $_ := set $settings (printf "%s_tokens" $scope) $files }}{{ end -}}
{{- end -}}
{{- end -}}
{{- if $gateway.allowUnauthenticated }}{{ $_ := set $settings "allow_unauthenticated" true }}{{ end -}}
{{- if $gateway.telemetry.webConfig.secretName -}}
{{- $_ := set $settings "telemetry_web_config" (printf "/etc/token-budget/web/%s" $gateway.telemetry.webConfig.key) -}}
{{- else if $gateway.telemetry.tls -}}
{{- $_ := set $settings "telemetry_web_config" "/etc/token-budget/web/web.yml" -}}
{{- end -}}
{{- range $name, $value := mergeOverwrite (deepCopy $gateway.settings) $settings }}
- name: TOKEN_BUDGET_{{ upper $name }}
  value: {{ include "token-budget-sidecar.setting" $value | quote }}
{{- end }}
{{- with $gateway.env }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The folders below /etc/token-budget, and the volumes that fill them. */}}
{{- define "token-budget-sidecar.gatewayFolders" -}}
{{- $gateway := .Values.gateway -}}
{{- $folders := dict -}}
{{- with $gateway.tls.secretName }}{{ $_ := set $folders "tls" (dict "secret" (dict "secretName" . "defaultMode" 0440)) }}{{ end -}}
{{- with $gateway.tokens.secretName }}{{ $_ := set $folders "tokens" (dict "secret" (dict "secretName" . "defaultMode" 0440)) }}{{ end -}}
{{- with $gateway.clientCa.secretName }}{{ $_ := set $folders "client-ca" (dict "secret" (dict "secretName" . "defaultMode" 0440)) }}{{ end -}}
{{- with $gateway.journal.certificatesSecretName }}{{ $_ := set $folders "database" (dict "secret" (dict "secretName" . "defaultMode" 0440)) }}{{ end -}}
{{- if $gateway.telemetry.webConfig.secretName -}}
{{- $_ := set $folders "web" (dict "secret" (dict "secretName" $gateway.telemetry.webConfig.secretName "defaultMode" 0440)) -}}
{{- else if $gateway.telemetry.tls -}}
{{- $_ := set $folders "web" (dict "configMap" (dict "name" (include "token-budget-sidecar.gatewayName" .))) -}}
{{- end -}}
{{ toYaml $folders }}
{{- end }}
