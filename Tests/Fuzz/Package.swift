// swift-tools-version: 6.2
import PackageDescription

// Fuzzing of every decoder, a package of its own so that normal builds know nothing of libFuzzer. Its rooms are the
// real ones, as links, but built with coverage; `scripts/fuzz` builds and runs it.
//
// There are two executables because what the network's decoders need takes minutes to build.

let strict: [SwiftSetting] = [
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("InternalImportsByDefault"),
  .treatAllWarnings(as: .error),
]
let covered = strict + [.unsafeFlags(["-sanitize=fuzzer"])]

func room(_ name: String, _ dependencies: [Target.Dependency] = []) -> Target {
  .target(name: name, dependencies: dependencies, swiftSettings: covered)
}

func fuzzer(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
  .executableTarget(
    name: name, dependencies: dependencies, swiftSettings: strict,
    linkerSettings: [.unsafeFlags(["-sanitize=fuzzer"])])
}

let package = Package(
  name: "fuzz",
  dependencies: [
    .package(url: "https://github.com/apple/swift-collections.git", exact: "1.6.0"),
    .package(url: "https://github.com/apple/swift-nio.git", exact: "2.101.2"),
    .package(url: "https://github.com/apple/swift-nio-http2.git", exact: "1.46.0"),
  ],
  targets: [
    .systemLibrary(name: "CLMDB"),
    .systemLibrary(name: "CLibFuzzer"),
    room("RaftCore", [.product(name: "DequeModule", package: "swift-collections")]),
    room("CoordinationCore"),
    room("LogStorage", ["RaftCore", "CLMDB"]),
    room("DecodersCore", ["RaftCore", "CoordinationCore", "LogStorage"]),
    fuzzer("FuzzCore", ["CLibFuzzer", "DecodersCore"]),
    // Of these rooms only what decodes, so that nothing is built that no fuzzer reaches.
    room("FencingCore"),
    room("CoreNode", ["RaftCore", "LogStorage", .product(name: "NIOCore", package: "swift-nio")]),
    room(
      "Wire",
      [
        .product(name: "NIOCore", package: "swift-nio"), .product(name: "NIOHPACK", package: "swift-nio-http2"),
        .product(name: "NIOHTTP2", package: "swift-nio-http2"),
      ]),
    room("Tokens", ["FencingCore"]),
    room("Gateway", ["FencingCore", "Tokens"]),
    room(
      "DecodersNetwork",
      ["DecodersCore", "CoreNode", "Wire", "Tokens", "Gateway", .product(name: "NIOCore", package: "swift-nio")]),
    fuzzer("FuzzNetwork", ["CLibFuzzer", "DecodersCore", "DecodersNetwork"]),
  ]
)
