// What a soak is told: for how long, from which seed, with which faults, how large and how fast.

package struct ChaosSettings: Sendable {
  /// The program whose servers are under test.
  package var executable: String
  /// Where they keep what they keep; it stays.
  package var directory: String
  package var duration: Duration
  package var seed: UInt64
  package var faults: Set<ChaosFault> = Set(ChaosFault.allCases)
  package var nodes = 3
  package var gateways = 2
  /// Of the clients on keys; the holders together write a quarter of that.
  package var operationsPerSecond = 100

  package init(executable: String, directory: String, duration: Duration, seed: UInt64) {
    self.executable = executable
    self.directory = directory
    self.duration = duration
    self.seed = seed
  }

  static let clients = 8
  static let holdersOfEachScope = 2
  static let scopesOfEachGateway = 2
  /// How long a holder's lease outlives its last renewal.
  static let leaseMilliseconds = 1500
  /// A history is checked and forgotten about so often.
  static let roundSeconds = 120
  /// Within which every node, and every gateway, must serve again when a fault has ended.
  static let patienceSeconds = 40

  var scopes: Int { gateways * Self.scopesOfEachGateway }

  /// The longest pause of a client after an answer, so that all of them come to the rate.
  var clientPauseMilliseconds: Int { max(2, 2000 * Self.clients / max(1, operationsPerSecond)) }

  /// The longest pause of a holder between two writes. One of each scope writes at a time.
  var holderPauseMilliseconds: Int { max(4, 2000 * scopes * 4 / max(1, operationsPerSecond)) }
}

/// What is done to processes, network, disks and clocks.
package enum ChaosFault: String, CaseIterable, Sendable, Codable {
  case kill, pause, partition
  case slowDisk = "slow-disk"
  case clock

  /// Whether it needs the library that is preloaded into the servers.
  package var needsInjector: Bool { self == .slowDisk || self == .clock }
}
