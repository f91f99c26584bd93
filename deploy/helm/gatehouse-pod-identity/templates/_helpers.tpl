{{- define "mic.selector" -}}
app.kubernetes.io/name: gatehouse-mic
{{- end -}}

{{- define "mic.labels" -}}
{{ include "mic.selector" . }}
app.kubernetes.io/part-of: gatehouse
{{- end -}}
