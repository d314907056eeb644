// swift-tools-version: 6.2
import PackageDescription

// Micro-benchmarks of what every write goes through, in a package of their own so that nobody who uses Portcullis has to
// build a benchmarking library. The rooms are the product's own sources (Rooms/ holds links to them), compiled as part
// of this package, since what they offer to each other they offer to nobody outside.

let strict: [SwiftSetting] = [
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("InternalImportsByDefault"),
]

func room(_ name: String, _ dependencies: [Target.Dependency] = []) -> Target {
  .target(name: name, dependencies: dependencies, path: "Rooms/\(name)", swiftSettings: strict)
}

let package = Package(
  name: "Benchmarks",
  dependencies: [
    // Its own counting of allocations is left out with its traits: AllocationCounter counts exactly, and for one thread.
    .package(url: "https://github.com/ordo-one/benchmark.git", exact: "1.38.1", traits: []),
    // The versions of the product's manifest.
    .package(url: "https://github.com/apple/swift-collections.git", exact: "1.6.0"),
    .package(url: "https://github.com/apple/swift-crypto.git", exact: "4.5.2"),
    .package(url: "https://github.com/HdrHistogram/hdrhistogram-swift.git", exact: "0.2.0"),
  ],
  targets: [
    room("RaftCore", [.product(name: "DequeModule", package: "swift-collections")]),
    room("CoordinationCore"),
    room("FencingCore"),
    room("Measurement", [.product(name: "Histogram", package: "hdrhistogram-swift")]),
    .systemLibrary(name: "CLMDB", path: "Rooms/CLMDB", providers: [.apt(["liblmdb-dev"])]),
    room("LogStorage", ["RaftCore", "CLMDB"]),
    room("Tokens", ["FencingCore", .product(name: "Crypto", package: "swift-crypto")]),
    .target(name: "AllocationCounter", path: "AllocationCounter"),
    .executableTarget(
      name: "Microbenchmarks",
      dependencies: [
        "AllocationCounter", "RaftCore", "CoordinationCore", "FencingCore", "Measurement", "LogStorage", "Tokens",
        .product(name: "Benchmark", package: "benchmark"),
      ],
      path: "Microbenchmarks", swiftSettings: strict,
      plugins: [.plugin(name: "BenchmarkPlugin", package: "benchmark")]),
  ]
)
