# Compose files for `bench.sh`: one that is large, and some that are small and want to be huge.
# Sourced; each function writes a folder with a compose.yaml.

write_large() { # FOLDER SERVICES
  mkdir -p "$1"
  awk -v n="$2" 'BEGIN {
    print "services:"
    for (i = 1; i <= n; i++) {
      printf "  service%d:\n    image: example/service:${TAG:-1.%d}\n", i, i
      printf "    environment: { LEVEL: info, NUMBER: \"%d\", PEER: service%d }\n", i, i % n + 1
      printf "    ports: [\"%d:80\"]\n    volumes: [\"data%d:/data\"]\n", 1024 + i % 60000, i
      printf "    networks: [front, back]\n    deploy: { replicas: 2, resources: { limits: { memory: 64M } } }\n"
      printf "    healthcheck: { test: [\"CMD\", \"true\"], interval: 5s }\n"
    }
    print "networks: { front: {}, back: {} }\nvolumes:"
    for (i = 1; i <= n; i++) printf "  data%d: {}\n", i
  }' >"$1/compose.yaml"
}

# Every bomb by name. Each must be refused, and fast.
readonly BOMBS=(aliases anchors merge_keys depth flow_depth interpolation interpolation_size
  variables include_fan include_circle include_depth extends_chain extends_fan reset_circle
  override_tags steps services pools unknown_keys undefined long_paths large_file)

write_bomb() { # NAME FOLDER
  mkdir -p "$2"
  "bomb_$1" "$2" >"$2/compose.yaml"
}

SERVICE='services: { web: { image: a } }'

repeated() { awk -v text="$1" -v n="$2" 'BEGIN { for (i = 0; i < n; i++) printf "%s", text }'; }

bomb_aliases() {
  echo 'a0: &a0 [x, x, x, x, x, x, x, x, x]'
  awk 'BEGIN { for (i = 1; i < 20; i++) { p = "*a" (i - 1)
    printf "x-a%d: &a%d [%s, %s, %s, %s, %s, %s, %s, %s, %s]\n", i, i, p, p, p, p, p, p, p, p, p } }'
}

# Each anchor holds all that the next ones hold.
bomb_anchors() {
  printf 'x-a: '
  awk 'BEGIN { for (i = 1; i < 60; i++) printf "&a%d [", i
    for (i = 0; i < 100000; i++) printf "x,"
    for (i = 1; i < 60; i++) printf "]"; print "" }'
}

bomb_merge_keys() {
  echo 'x-0: &m0 { k: v, l: v, m: v, n: v }'
  awk 'BEGIN { for (i = 1; i < 40; i++) printf "x-%d: &m%d { <<: [*m%d, *m%d], a%d: *m%d, b%d: *m%d, c%d: *m%d }\n",
    i, i, i - 1, i - 1, i, i - 1, i, i - 1, i, i - 1 }'
}

bomb_depth() { awk 'BEGIN { for (i = 0; i < 3000; i++) { for (j = 0; j < i; j++) printf " "; print "a:" } }'; }
bomb_flow_depth() { echo "x-a: $(repeated '[' 1000000)"; }

bomb_interpolation() {
  echo 'services:'
  awk 'BEGIN { for (i = 0; i < 10; i++) { printf "  s%d: { image: \"", i
    for (j = 0; j < 20000; j++) printf "${A:-"
    printf "x"
    for (j = 0; j < 20000; j++) printf "}"
    print "\" }" } }'
}

bomb_interpolation_size() {
  awk 'BEGIN { printf "A="; for (i = 0; i < 1000000; i++) printf "x"; print "" }' >"$1/.env"
  echo 'services: { web: { image: a, command: ['
  awk 'BEGIN { for (i = 0; i < 100000; i++) print "$A," }'
  echo '] } }'
}

bomb_variables() {
  awk 'BEGIN { print "A0=0123456789abcdef"
    for (i = 1; i < 1000; i++) printf "A%d=${A%d}${A%d}\n", i, i - 1, i - 1 }' >"$1/.env"
  echo "$SERVICE"
}

bomb_include_fan() {
  { echo 'include:' && repeated $'- other.yaml\n' 2000; } >"$1/other.yaml.tmp"
  cp "$1/other.yaml.tmp" "$1/third.yaml" && sed 's/other/third/' "$1/other.yaml.tmp" >"$1/other.yaml"
  echo 'include:' && repeated $'- other.yaml\n' 2000 && echo "$SERVICE"
}

bomb_include_circle() {
  printf 'include: [compose.yaml, compose.yaml]\n%s\n' "$SERVICE" >"$1/other.yaml"
  printf 'include: [other.yaml, other.yaml]\n%s\n' "$SERVICE"
}

bomb_include_depth() {
  awk -v folder="$1" 'BEGIN { for (i = 1; i < 200; i++)
    printf "include: [f%d.yaml, f%d.yaml]\n", i + 1, i + 1 >(folder "/f" i ".yaml") }'
  echo 'include: [f1.yaml]' && echo "$SERVICE"
}

bomb_extends_chain() {
  awk 'BEGIN { print "services:\n  s0: { image: a }"
    for (i = 1; i < 5000; i++) printf "  s%d: { extends: s%d }\n", i, i - 1 }'
}

bomb_extends_fan() {
  awk 'BEGIN { printf "services:\n  base: { image: a, security_opt: ["
    for (i = 0; i < 50000; i++) printf "o%d,", i
    print "] }"
    for (i = 1; i < 5000; i++) printf "  s%d: { extends: base }\n", i }'
}

bomb_reset_circle() { echo 'services: &a { web: !reset { image: a, x: *a } }'; }

bomb_override_tags() {
  printf 'services:\n  web: &w !override { image: a, environment: &e !override { A: b } }\n'
  awk 'BEGIN { for (i = 0; i < 15000; i++) printf "  w%d: !override { <<: *w, environment: !override { <<: *e }, x-m: *w }\n", i }'
}

bomb_steps() {
  awk 'BEGIN { printf "services:\n  web:\n    image: a\n    security_opt: ["
    for (i = 0; i < 50000; i++) printf "o%d,", i
    print "]\n    pre_start:"
    for (i = 0; i < 5000; i++) print "      - { command: x }" }'
}

bomb_services() { awk 'BEGIN { print "services:"; for (i = 0; i < 10001; i++) printf "  s%d: { image: a }\n", i }'; }

# Pools are compared by their subnet with those of an earlier file; the driver is a mistake.
bomb_pools() {
  pools() { awk 'BEGIN { for (i = 0; i < 5000; i++) printf "{ subnet: 10.%d.0.0/16 },", i }'; }
  { printf 'networks: { n: { ipam: { config: [' && pools && echo '] } } }'; } >"$1/compose.override.yaml"
  printf 'networks: { n: { ipam: { config: [' && pools && echo '] } } }'
  echo 'services: { web: { command: a } }'
}

bomb_unknown_keys() { awk 'BEGIN { print "services:\n  web:"; for (i = 0; i < 20000; i++) printf "    imag%d: a\n", i }'; }

bomb_undefined() {
  awk 'BEGIN { print "services:"; for (i = 0; i < 2000; i++) printf "  s%d: { image: a, depends_on: [t%d] }\n", i, i }'
}

# Each of many paths is as long as all the keys around it.
bomb_long_paths() {
  printf 'services: { web: { command: a } }\nx-a: '
  awk 'BEGIN { for (i = 0; i < 50; i++) { printf "{ "; for (j = 0; j < 1000; j++) printf "k"; printf ": " }
    printf "["; for (i = 0; i < 100000; i++) printf "1,"; printf "]"
    for (i = 0; i < 50; i++) printf "}"; print "" }'
}

bomb_large_file() { awk 'BEGIN { for (i = 0; i < 17 * 1024; i++) printf "#%1023s\n", "" }'; }
