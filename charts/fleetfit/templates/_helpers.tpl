{{/* Name of the chart. */}}
{{- define "fleetfit.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 53 | trimSuffix "-" -}}
{{- end -}}

{{/* Name of the release's objects, without doubling when the release is called like the chart. */}}
{{- define "fleetfit.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 53 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "fleetfit.name" . -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 53 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 53 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "fleetfit.operatorName" -}}
{{- include "fleetfit.fullname" . -}}-operator
{{- end -}}

{{- define "fleetfit.operatorServiceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "fleetfit.operatorName" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "fleetfit.retrainingName" -}}
{{- include "fleetfit.fullname" . | trunc 41 | trimSuffix "-" -}}-retraining
{{- end -}}

{{/* Fixed: the operator's DaemonSets and the admission policy name this account. */}}
{{- define "fleetfit.runtimeServiceAccount" -}}
fleetfit-runtime
{{- end -}}

{{- define "fleetfit.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/name: {{ include "fleetfit.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: fleetfit
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Selectors are immutable, hence only what never changes. */}}
{{- define "fleetfit.operatorSelector" -}}
app.kubernetes.io/name: {{ include "fleetfit.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end -}}

{{- define "fleetfit.retrainingSelector" -}}
app.kubernetes.io/name: {{ include "fleetfit.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: retraining
{{- end -}}

{{/* Labels that the operator gives to the runtimes' pods. */}}
{{- define "fleetfit.runtimeSelector" -}}
app.kubernetes.io/name: fleetfit-runtime
{{- end -}}

{{/* Image of a runtime, from (list context kind) with a kind of runtime.images. */}}
{{- define "fleetfit.runtimeImage" -}}
{{- $context := index . 0 -}}
{{- $kind := index . 1 -}}
{{- $repository := required (printf "runtime.images.%s is needed" $kind) (index $context.Values.runtime.images $kind) -}}
{{- printf "%s:%s" $repository (default $context.Chart.AppVersion $context.Values.runtime.tag) -}}
{{- end -}}
