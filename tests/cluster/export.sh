# Exports to Kubernetes, for `bench.sh`; beside Kompose, where somebody has installed it. Sourced.

# Median milliseconds of 21 runs of a command line, in a folder.
time_line() { # FOLDER LINE
  local n began runs=()
  for ((n = 0; n < 21; n++)); do
    began=${EPOCHREALTIME/[.,]/}
    (cd "$1" && sh -ec "$2" >/dev/null 2>"$WORK/line.log") || fail "$2 failed: $(tail -n 3 "$WORK/line.log")"
    runs+=($((${EPOCHREALTIME/[.,]/} - began)))
  done
  awk -v us="$(median "${runs[@]}")" 'BEGIN { printf "%.1f", us / 1000 }'
}

# One after the other, as somebody would who wants all of them.
export_forms() { # OUT
  local form
  for form in kubernetes kustomize helm; do printf '"%s" export --to %s -o "%s/%s"\n' "$MUSTER" "$form" "$1" "$form"; done
}

bench_export() {
  local kompose mine=- theirs=- form took=- peak=-
  kompose=$(command -v kompose || true)
  [[ -n $kompose ]] || say "export: no Kompose to compare with"
  write_ten_services
  if with_muster; then mine=$(time_line "$WORK/ten" "$(export_forms "$WORK/exported")"); fi
  figure "export of 10 services, in 3 forms" "$mine" "target" 50.0 ms
  if [[ -n $kompose ]]; then
    if with_muster; then mine=$(time_line "$WORK/ten" "\"$MUSTER\" export --to kubernetes -o \"$WORK/exported/one\""); fi
    mkdir -p "$WORK/kompose"
    theirs=$(time_line "$WORK/ten" "\"$kompose\" convert -o \"$WORK/kompose\"")
    figure "export of 10 services, as objects" "$mine" "kompose" "$theirs" ms
  fi
  write_large "$WORK/thousand" 1000
  if with_muster; then
    for form in kubernetes kustomize helm; do
      take_peak "$WORK/thousand" "$MUSTER" export --to "$form" -o "$WORK/exported/large-$form"
      ((STATUS == 0)) || fail "no export of 1000 services to $form: $(tail -n 3 "$WORK/peak.log")"
      figure "export of 1000 services to $form" "$TOOK" "target" 2.000 s
      figure "export of 1000 services to $form, peak" "$PEAK" "target" 300 MB
      if [[ $form == kubernetes ]]; then took=$TOOK peak=$PEAK; fi
    done
  fi
  [[ -n $kompose ]] || return 0
  take_peak "$WORK/thousand" "$kompose" convert -o "$WORK/kompose"
  if ((STATUS != 0)); then
    say "kompose ends with status $STATUS on 1000 services"
    return 0
  fi
  figure "export of 1000 services, as objects" "$took" "kompose" "$TOOK" s
  figure "export of 1000 services, as objects, peak" "$peak" "kompose" "$PEAK" MB
}
