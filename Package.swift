// swift-tools-version: 6.2
import PackageDescription

// One target is one room of the design (ARCHITECTURE.md draws them). The arrows between rooms are the
// `dependencies` below and nothing else; `scripts/check` fails when a pure room imports what it may not.

let strict: [SwiftSetting] = [
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("InternalImportsByDefault"),
  .treatAllWarnings(as: .error),
]

// Pure rooms: value types only, no NIO, no Foundation, no file, clock, randomness, lock or `async`.
let pureRooms: [Target] = [
  .target(
    name: "RaftCore",
    dependencies: [.product(name: "DequeModule", package: "swift-collections")]),
  .target(name: "CoordinationCore"),
  .target(name: "FencingCore"),
  .target(name: "Linearizability"),
  .target(
    name: "Measurement",
    dependencies: [.product(name: "Histogram", package: "hdrhistogram-swift")]),
  .target(
    name: "Planning",
    dependencies: ["RaftCore", "Measurement", .product(name: "DequeModule", package: "swift-collections")]),
  .target(name: "Simulation", dependencies: ["RaftCore", "CoordinationCore", "FencingCore", "Linearizability"]),
]

let storageRooms: [Target] = [
  .systemLibrary(name: "CLMDB", providers: [.apt(["liblmdb-dev"])]),
  .systemLibrary(name: "CSQLite", pkgConfig: "sqlite3", providers: [.apt(["libsqlite3-dev"])]),
  // The same headers and no library: an extension calls the SQLite that loads it.
  .systemLibrary(name: "CSQLiteExtension", providers: [.apt(["libsqlite3-dev"])]),
  .target(name: "FenceExtension", dependencies: ["FencingCore", "Tokens", "CSQLiteExtension"]),
  .target(name: "LogStorage", dependencies: ["RaftCore", "CLMDB"]),
  .target(name: "DiskProbe", dependencies: ["Measurement", "LogStorage", "RaftCore"]),
]

/// Cutting the power, as far as a program can (docs/crash-testing.md).
let crashRooms: [Target] = [
  .target(name: "CrashStates"),
  .target(name: "CallRecorder"),
  .target(name: "FaultInjector"),
  .executableTarget(
    name: "crash-enumerator",
    dependencies: [
      "RaftCore", "LogStorage", "CrashStates", "CSQLite", "FencedSQLite", "FencingCore",
      .product(name: "Logging", package: "swift-log"),
    ]),
]

let networkRooms: [Target] = [
  .target(
    name: "Protocol",
    dependencies: [.product(name: "SwiftProtobuf", package: "swift-protobuf")],
    exclude: ["Definitions"]),
  .target(
    name: "Wire",
    dependencies: [
      "Protocol",
      .product(name: "NIOCore", package: "swift-nio"),
      .product(name: "NIOPosix", package: "swift-nio"),
      .product(name: "NIOHTTP1", package: "swift-nio"),
      .product(name: "NIOConcurrencyHelpers", package: "swift-nio"),
      .product(name: "NIOHTTP2", package: "swift-nio-http2"),
      .product(name: "NIOHPACK", package: "swift-nio-http2"),
      .product(name: "NIOTLS", package: "swift-nio"),
      .product(name: "NIOSSL", package: "swift-nio-ssl"),
      .product(name: "X509", package: "swift-certificates"),
      .product(name: "Crypto", package: "swift-crypto"),
      .product(name: "SwiftProtobuf", package: "swift-protobuf"),
      .product(name: "Logging", package: "swift-log"),
    ]),
  .target(
    name: "Tokens",
    dependencies: ["FencingCore", .product(name: "Crypto", package: "swift-crypto")]),
]

let serverRooms: [Target] = [
  .target(
    name: "FencedSQLite",
    dependencies: [
      "FencingCore", "CSQLite", "Tokens",
      .product(name: "Crypto", package: "swift-crypto"),
      .product(name: "Logging", package: "swift-log"),
    ]),
  .target(
    name: "CoreNode",
    dependencies: [
      "RaftCore", "CoordinationCore", "FencingCore", "LogStorage", "Protocol", "Wire", "Tokens",
      .product(name: "NIOCore", package: "swift-nio"),
      .product(name: "NIOPosix", package: "swift-nio"),
      .product(name: "NIOConcurrencyHelpers", package: "swift-nio"),
      .product(name: "Crypto", package: "swift-crypto"),
      .product(name: "CryptoExtras", package: "swift-crypto"),
      .product(name: "NIOSSL", package: "swift-nio-ssl"),
      .product(name: "SwiftProtobuf", package: "swift-protobuf"),
      .product(name: "Logging", package: "swift-log"),
    ]),
  .target(
    name: "Client",
    dependencies: [
      "Wire", "Protocol", "FencingCore", "Tokens",
      .product(name: "NIOCore", package: "swift-nio"),
      .product(name: "NIOPosix", package: "swift-nio"),
      .product(name: "NIOConcurrencyHelpers", package: "swift-nio"),
      .product(name: "SwiftProtobuf", package: "swift-protobuf"),
      .product(name: "NIOFoundationCompat", package: "swift-nio"),
      .product(name: "NIOHTTP1", package: "swift-nio"),
      .product(name: "AsyncHTTPClient", package: "async-http-client"),
      .product(name: "NIOSSL", package: "swift-nio-ssl"),
      .product(name: "Logging", package: "swift-log"),
      .product(name: "HashTreeCollections", package: "swift-collections"),
    ]),
  .target(
    name: "Gateway",
    dependencies: [
      "FencingCore", "FencedSQLite", "Client", "Tokens", "Wire",
      .product(name: "Hummingbird", package: "hummingbird"),
      .product(name: "HummingbirdCore", package: "hummingbird"),
      .product(name: "NIOCore", package: "swift-nio"),
      .product(name: "NIOHTTP1", package: "swift-nio"),
      .product(name: "Logging", package: "swift-log"),
    ]),
]

let measuringRooms: [Target] = [
  .target(
    name: "Workloads",
    dependencies: [
      "Measurement", "Client", "Wire", "Protocol",
      .product(name: "NIOCore", package: "swift-nio"),
      .product(name: "NIOPosix", package: "swift-nio"),
      .product(name: "NIOHTTP1", package: "swift-nio"),
      .product(name: "NIOFoundationCompat", package: "swift-nio"),
      .product(name: "SwiftProtobuf", package: "swift-protobuf"),
      .product(name: "Logging", package: "swift-log"),
    ]),
  .target(name: "Reporting", dependencies: ["Measurement"]),
  .target(
    name: "PlanRunning",
    dependencies: [
      "Planning", "Measurement", "DiskProbe", "Workloads", "Conformance", "LogStorage", "RaftCore",
      .product(name: "NIOCore", package: "swift-nio"),
      .product(name: "NIOPosix", package: "swift-nio"),
      .product(name: "Yams", package: "Yams"),
    ]),
]

/// The scenarios of the fence, and the processes that they are played with.
let conformance: Target = .target(
  name: "Conformance",
  dependencies: [
    "Client", "FencedSQLite", "FencingCore", "Protocol", "Wire",
    .product(name: "Crypto", package: "swift-crypto"),
    .product(name: "Logging", package: "swift-log"),
    .product(name: "NIOCore", package: "swift-nio"),
    .product(name: "NIOPosix", package: "swift-nio"),
    .product(name: "NIOFoundationCompat", package: "swift-nio"),
    .product(name: "AsyncHTTPClient", package: "async-http-client"),
  ])

/// The soak: real processes under faults, and the checks of what was seen.
let chaos: Target = .target(
  name: "Chaos",
  dependencies: [
    "Conformance", "Linearizability", "Protocol", "Wire",
    .product(name: "NIOCore", package: "swift-nio"),
    .product(name: "NIOPosix", package: "swift-nio"),
  ])

/// What the commands do, apart from reading their arguments.
let commands: Target = .target(
  name: "Commands",
  dependencies: [
    "CoreNode", "Gateway", "Client", "FencingCore", "Tokens", "Protocol", "Wire",
    .product(name: "Logging", package: "swift-log"),
    .product(name: "Yams", package: "Yams"),
  ])

let executable: Target = .executableTarget(
  name: "portcullis",
  dependencies: [
    "Commands", "Client", "CoreNode", "FencingCore", "Wire", "Gateway", "Workloads", "Reporting", "Measurement",
    "Chaos",
    "Conformance",
    "DiskProbe",
    "LogStorage",
    "PlanRunning",
    "Planning",
    "Simulation",
    .product(name: "ArgumentParser", package: "swift-argument-parser"),
    .product(name: "Logging", package: "swift-log"),
  ])

/// Test targets mirror Sources: `Tests/<Room>Tests` tests `<Room>`.
func tests(of room: String, with others: [Target.Dependency] = []) -> Target {
  .testTarget(name: "\(room)Tests", dependencies: [.target(name: room)] + others)
}

let testTargets: [Target] = [
  tests(of: "RaftCore"),
  tests(of: "CoordinationCore"),
  tests(of: "FencingCore"),
  tests(of: "Linearizability"),
  tests(of: "Measurement"),
  tests(of: "Planning", with: ["Measurement"]),
  tests(of: "PlanRunning", with: ["Planning", "Measurement", "DiskProbe"]),
  tests(of: "Simulation", with: ["RaftCore"]),
  tests(of: "LogStorage", with: ["RaftCore"]),
  tests(of: "CrashStates", with: ["crash-enumerator"]),
  tests(of: "DiskProbe", with: ["LogStorage", "Measurement"]),
  tests(of: "Tokens", with: ["FencingCore", .product(name: "Crypto", package: "swift-crypto")]),
  tests(
    of: "Wire",
    with: [
      "Protocol",
      .product(name: "NIOCore", package: "swift-nio"),
      .product(name: "NIOPosix", package: "swift-nio"),
      .product(name: "NIOConcurrencyHelpers", package: "swift-nio"),
      .product(name: "NIOHPACK", package: "swift-nio-http2"),
      .product(name: "NIOHTTP2", package: "swift-nio-http2"),
      .product(name: "NIOSSL", package: "swift-nio-ssl"),
      .product(name: "X509", package: "swift-certificates"),
      .product(name: "Crypto", package: "swift-crypto"),
      .product(name: "SwiftProtobuf", package: "swift-protobuf"),
      .product(name: "Logging", package: "swift-log"),
    ]),
  tests(
    of: "CoreNode",
    with: [
      "RaftCore", "LogStorage", "CoordinationCore", "Protocol", "Wire",
      .product(name: "Crypto", package: "swift-crypto"),
      .product(name: "CryptoExtras", package: "swift-crypto"),
      .product(name: "NIOCore", package: "swift-nio"),
      .product(name: "NIOPosix", package: "swift-nio"),
      .product(name: "SwiftProtobuf", package: "swift-protobuf"),
      .product(name: "Logging", package: "swift-log"),
    ]),
  tests(of: "Commands"),
  tests(of: "FencedSQLite", with: ["FencingCore", "Tokens", "CSQLite"]),
  tests(
    of: "Gateway",
    with: [
      "FencingCore", "Tokens", "CSQLite",
      .product(name: "AsyncHTTPClient", package: "async-http-client"),
      .product(name: "Logging", package: "swift-log"),
      .product(name: "NIOCore", package: "swift-nio"),
      .product(name: "NIOHTTP1", package: "swift-nio"),
    ]),
  tests(
    of: "Workloads",
    with: [
      "Measurement", "Wire", "Protocol",
      .product(name: "NIOCore", package: "swift-nio"),
      .product(name: "NIOPosix", package: "swift-nio"),
      .product(name: "SwiftProtobuf", package: "swift-protobuf"),
      .product(name: "Logging", package: "swift-log"),
    ]),
  tests(of: "Reporting", with: ["Measurement"]),
  .testTarget(
    name: "DecoderTests",
    dependencies: [
      "RaftCore", "CoordinationCore", "LogStorage", "CoreNode", "Wire", "Tokens", "Gateway",
      .product(name: "NIOCore", package: "swift-nio"),
    ], exclude: ["Corpus"]),
  // Preloaded into the shipped program by a test, to take one rule away from it.
  .target(name: "PlantedDefects", path: "Tests/PlantedDefects"),
  // The real executable, with real processes and other people's clients.
  .testTarget(
    name: "SystemTests",
    dependencies: [
      "Chaos", "Client", "Conformance", "FencingCore", "Linearizability", "Protocol", "Tokens", "Wire", "portcullis",
      .product(name: "NIOCore", package: "swift-nio"),
      .product(name: "NIOPosix", package: "swift-nio"),
      .product(name: "X509", package: "swift-certificates"),
      .product(name: "Crypto", package: "swift-crypto"),
      .product(name: "SwiftProtobuf", package: "swift-protobuf"),
    ],
    exclude: ["rqlite_client.py", "verify_token.py"]),
]

let package = Package(
  name: "portcullis",
  products: [
    .executable(name: "portcullis", targets: ["portcullis"]),
    .library(name: "Client", targets: ["Client"]),
    .library(name: "FencedSQLite", targets: ["FencedSQLite"]),
    // SQLite finds its entry point by this name.
    .library(name: "portcullis_fence", type: .dynamic, targets: ["FenceExtension"]),
    // To be preloaded, so it must be a file of its own.
    .library(name: "CallRecorder", type: .dynamic, targets: ["CallRecorder"]),
    .library(name: "portcullis_faults", type: .dynamic, targets: ["FaultInjector"]),
    .library(name: "planted_defects", type: .dynamic, targets: ["PlantedDefects"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser.git", exact: "1.8.2"),
    .package(url: "https://github.com/apple/swift-collections.git", exact: "1.6.0"),
    .package(url: "https://github.com/apple/swift-crypto.git", exact: "4.5.2"),
    .package(url: "https://github.com/apple/swift-log.git", exact: "1.16.2"),
    .package(url: "https://github.com/apple/swift-nio.git", exact: "2.101.2"),
    .package(url: "https://github.com/apple/swift-nio-http2.git", exact: "1.46.0"),
    .package(url: "https://github.com/apple/swift-nio-ssl.git", exact: "2.37.6"),
    .package(url: "https://github.com/apple/swift-certificates.git", exact: "1.21.1"),
    .package(url: "https://github.com/apple/swift-protobuf.git", exact: "1.39.0"),
    .package(url: "https://github.com/HdrHistogram/hdrhistogram-swift.git", exact: "0.2.0"),
    .package(url: "https://github.com/hummingbird-project/hummingbird.git", exact: "2.28.1", traits: []),
    .package(url: "https://github.com/jpsim/Yams.git", exact: "6.2.2"),
    .package(url: "https://github.com/swift-server/async-http-client.git", exact: "1.37.0"),
  ],
  targets: pureRooms + storageRooms + crashRooms + networkRooms + serverRooms + measuringRooms
    + [conformance, chaos, commands, executable]
    + testTargets
)

for target in package.targets where target.type != .system {
  target.swiftSettings = (target.swiftSettings ?? []) + strict
}
