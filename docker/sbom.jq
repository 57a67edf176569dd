# CycloneDX 1.5: Debian's packages (lines with tabs), and the crates of the programs as cargo-cyclonedx lists them, in one list.
($programs | split(" ")) as $programs
| ($crates | map(select(.metadata.component.name | IN($programs[])))) as $lists
# The workspace's own crates are the programs themselves.
| ($lists | map(.components[] | select(."bom-ref" | startswith("registry+"))) | unique_by(.purl)) as $crates
| split("\n") | map(select(. != "") | split("\t"))
| map("pkg:deb/debian/\(.[0])@\(.[1] | @uri)?arch=\(.[2])&distro=\($release)" as $purl | {
    type: "library",
    "bom-ref": $purl,
    name: .[0],
    version: .[1],
    purl: $purl,
    properties: [{ name: "debian:source", value: "\(.[3]) \(.[4])" }]
  })
| {
    "$schema": "http://cyclonedx.org/schema/bom-1.5.schema.json",
    bomFormat: "CycloneDX",
    specVersion: "1.5",
    version: 1,
    metadata: { component: { type: "container", "bom-ref": "image", name: "linerate", version: $version } },
    components: (
      ($lists | map(.metadata.component | { type: "application", "bom-ref": .name, name, version, licenses })) + . + $crates
    )
  }
