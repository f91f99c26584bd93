{{- define "selector" -}}
app.kubernetes.io/name: gatehouse-webhook
{{- end -}}

{{- define "labels" -}}
{{ include "selector" . }}
app.kubernetes.io/part-of: gatehouse
azure-workload-identity.io/system: "true"
{{- end -}}
