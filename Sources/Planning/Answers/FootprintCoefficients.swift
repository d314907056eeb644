// Owns the figures that the formulas of memory and disk are made of. Each was measured on a real node, by
//
//   swift build -c release --product portcullis
//   Benchmarks/measure-footprint --keys 300000 --leases 20000 --watchers 20000
//
// on Linux 6.18, x86-64, keys of 32 and values of 256 bytes. `storePerVersion` and what follows it are not measured: the code
// has them in the places that are named.

package struct FootprintCoefficients: Sendable, Equatable {
  /// Resident memory of a node that holds nothing.
  package var emptyNode = 40.0 * 1_048_576
  /// Resident memory beyond the bytes of key and value: of a key with its one version.
  package var key = 650.0
  /// Of each further version, beyond the bytes of its value.
  package var version = 430.0
  package var lease = 1000.0
  package var watcher = 420.0
  /// On the disk of the log, for each entry, beyond the bytes of key and value.
  package var logEntry = 230.0
  /// In a snapshot, for each version, beyond the bytes of key and value.
  package var snapshotVersion = 7.0
  /// In the file of a database, for each scope that its gateway keeps a floor for.
  package var fenceRow = 51.0

  /// What a version counts for in the quota beyond its bytes (CoordinationCore/KeyVersion.swift).
  package var storePerVersion = 128.0
  /// Of the log's newest entries in memory, at most (RaftCore/Configuration.swift).
  package var cachedLog = 64.0 * 1_048_576
  /// The log is cut when so many entries, and so many bytes, came since the last snapshot (CoreNode/NodeConfiguration.swift),
  /// and so many entries stay behind it.
  package var snapshotEntries = 100_000.0
  package var snapshotLogBytes = 256.0 * 1_048_576
  package var snapshotLogShare = 0.25
  package var trailingEntries = 10_000.0
  /// What is read in a second for a follower that is sent a snapshot.
  package var transferBytesPerSecond = 64.0 * 1_048_576
  /// The journal before the log, of fixed length.
  package var journal = 8.0 * 1_048_576

  package init() {}

  package static let measured = FootprintCoefficients()
}
