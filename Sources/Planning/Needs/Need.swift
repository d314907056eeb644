// Owns what somebody needs of a cluster, in the words of the need and not of the machine.
//
// Invariant: once `checked()` has returned, nothing in the model, the formulas or the text traps on a need.

package import Measurement

/// Why a need cannot be planned for: what was found, and what to do.
package struct PlanError: Error, Sendable, Equatable, CustomStringConvertible {
  package var description: String

  package init(_ description: String) { self.description = description }
}

package struct Need: Sendable, Equatable {
  // Operations a second.
  package var puts = 0.0
  package var gets = 0.0
  package var serializableGets = 0.0
  package var transactions = 0.0
  package var renewals = 0.0

  package var keyBytes = 32
  package var valueBytes = 256
  package var keys = 10_000.0
  package var keysPerDay = 0.0
  /// Of each key, the newest among them: what compaction leaves.
  package var versionsKept = 1.0
  package var leases = 0.0
  package var watchers = 0.0
  /// Watchers that a write has to be told to.
  package var watchersPerWrite = 0.0
  /// Scopes whose floors a gateway's file keeps.
  package var fenceRows = 0.0
  package var clients = 0.0

  package var nodes = 3
  /// In seconds, between any two nodes. Not looked at where there are sites.
  package var roundTrip = 0.000_5
  /// In seconds, between clients and the node that they talk to.
  package var clientRoundTrip = 0.0
  /// Names of the sites, one for each node in order; empty for one site.
  package var sites: [String] = []
  /// In seconds, by the two names with a hyphen, in either order.
  package var siteRoundTrips: [String: Double] = [:]
  package var processors = 4
  package var sharesMachine = false
  package var sharesDisk = false
  package var clientsAt = ClientPlace.spread
  package var arrivals = ArrivalProcess.poisson
  package var objective = LoadObjective(percentile: 99, latencyNanoseconds: 20_000_000)
  /// 0: etcd's default and ours, 2 GiB.
  package var quotaBytes = 2.0 * 1_073_741_824
  package var heartbeatMilliseconds = 100
  package var electionMilliseconds = 1000
  package var seed: UInt64 = 1

  package init() {}

  package var perSecond: [OperationKind: Double] {
    [
      .put: puts, .get: gets, .serializableGet: serializableGets, .transaction: transactions, .renewal: renewals,
    ].filter { $0.value > 0 }
  }

  package var operationsPerSecond: Double { puts + gets + serializableGets + transactions + renewals }
  package var writesPerSecond: Double { puts + transactions + renewals }
}

extension Need {
  /// Beyond these the model would run for minutes, or its answer would have nothing to do with a machine.
  private static let mostPerSecond = 500_000.0
  private static let mostNodes = 9

  /// Everything that makes a plan absurd, found before anything runs.
  package func checked() throws(PlanError) {
    try checkNumbers()
    try checkNodes()
    try checkSites()
    try checkTimes()
    try checkQuota()
  }

  private func checkNumbers() throws(PlanError) {
    let amounts: [(String, Double)] = [
      ("puts", puts), ("gets", gets), ("serializable gets", serializableGets), ("transactions", transactions),
      ("renewals", renewals), ("keys", keys), ("keys a day", keysPerDay), ("versions kept", versionsKept),
      ("leases", leases), ("watchers", watchers), ("watchers of a write", watchersPerWrite),
      ("fence rows", fenceRows), ("clients", clients), ("round trip", roundTrip),
      ("clients' round trip", clientRoundTrip), ("quota", quotaBytes),
    ]
    for (name, value) in amounts {
      guard value.isFinite, value >= 0, value < 1e15 else {
        throw PlanError("\(name): \(value) is no amount; give a number from 0 on")
      }
    }
    guard operationsPerSecond > 0 else {
      throw PlanError("no operation is asked for: give at least one of puts, gets, transactions or renewals a second")
    }
    guard operationsPerSecond <= Self.mostPerSecond else {
      throw PlanError(
        "\(Words.count(operationsPerSecond)) operations a second are beyond what one cluster does or this model can say in "
          + "reasonable time; plan for at most \(Words.count(Self.mostPerSecond)), and split the keys over several clusters"
      )
    }
    guard versionsKept >= 1 else {
      throw PlanError("versions kept: \(versionsKept) is too few; a key that is there has one version at least")
    }
    guard keyBytes >= 1, keyBytes <= 32 << 10, valueBytes >= 0, valueBytes <= 1536 << 10 else {
      throw PlanError(
        "a key of \(keyBytes) and a value of \(valueBytes) bytes: a request takes 1.5 MiB, and a key 1 byte to 32 KiB")
    }
    let bytesPerSecond = writesPerSecond * Double(keyBytes + valueBytes)
    guard bytesPerSecond <= 2e9 else {
      throw PlanError(
        "\(Words.bytes(bytesPerSecond)) a second would go through the log, more than disks and networks take; write less or "
          + "smaller values")
    }
    guard watchersPerWrite <= max(watchers, watchersPerWrite == 0 ? 0 : watchers) else {
      throw PlanError(
        "\(Words.count(watchersPerWrite)) watchers of a write, and \(Words.count(watchers)) watchers in all: a write "
          + "cannot be told to more than there are")
    }
  }

  private func checkNodes() throws(PlanError) {
    guard (1...Self.mostNodes).contains(nodes) else {
      throw PlanError(
        "\(nodes) nodes: a cluster has 1 to \(Self.mostNodes); take 1 to try things, 3 to survive the loss of one node, 5 of two"
      )
    }
    guard (1...1024).contains(processors) else {
      throw PlanError("\(processors) processors: a machine has 1 to 1024")
    }
  }

  private func checkSites() throws(PlanError) {
    guard !sites.isEmpty else { return }
    guard sites.count == nodes else {
      throw PlanError(
        "\(sites.count) sites are named for \(nodes) nodes; name the site of each node in order, such as a,a,b")
    }
    let known = Set(sites)
    for name in siteRoundTrips.keys.sorted() {
      let parts = name.split(separator: "-").map(String.init)
      guard parts.count == 2, parts.allSatisfy(known.contains) else {
        throw PlanError("the round trip of \(name): write it as SITE-SITE, with sites that nodes are at")
      }
    }
    for (place, one) in sites.enumerated() {
      for other in sites[(place + 1)...] where other != one {
        guard roundTrip(one, other) != nil else {
          throw PlanError("the round trip between the sites \(one) and \(other) is missing: add \(one)-\(other)")
        }
      }
    }
    for (name, value) in siteRoundTrips.sorted(by: { $0.key < $1.key }) where !(value.isFinite && value >= 0) {
      throw PlanError("the round trip of \(name) is \(value); it must be a time from 0 on")
    }
  }

  private func checkTimes() throws(PlanError) {
    guard heartbeatMilliseconds > 0, electionMilliseconds >= 5 * heartbeatMilliseconds,
      electionMilliseconds <= 50_000
    else {
      throw PlanError(
        "a heartbeat of \(heartbeatMilliseconds) ms and an election timeout of \(electionMilliseconds) ms: the timeout must be "
          + "at least five heartbeats and at most 50 s")
    }
    let longest = longestRoundTrip
    guard longest * 1000 < Double(electionMilliseconds) else {
      throw PlanError(
        "a round trip of \(Words.time(longest * 1e9)) is no shorter than the election timeout of \(electionMilliseconds) ms: "
          + "nobody could be elected; raise it to at least ten round trips (--election-timeout) or move the nodes together"
      )
    }
    guard objective.percentile > 0, objective.percentile < 100, objective.latencyNanoseconds > 0 else {
      throw PlanError("the objective p\(objective.percentile) is none; write it like p99=20ms")
    }
  }

  private func checkQuota() throws(PlanError) {
    let store = Footprint.storeBytes(self)
    guard store < quotaBytes else {
      throw PlanError(
        "the data is \(Words.bytes(store)) (\(Words.count(keys)) keys × \(versionsKept) versions × "
          + "\(Footprint.storeBytesPerVersion(self)) bytes) and the quota \(Words.bytes(quotaBytes)): raise --quota, keep fewer "
          + "versions (compaction) or store less")
    }
  }

  /// Between two sites, in seconds; nil where it was not given.
  package func roundTrip(_ one: String, _ other: String) -> Double? {
    if one == other { return siteRoundTrips["\(one)-\(one)"] ?? Need().roundTrip }
    return siteRoundTrips["\(one)-\(other)"] ?? siteRoundTrips["\(other)-\(one)"]
  }

  /// Between two nodes, in seconds.
  package func roundTrip(from one: Int, to other: Int) -> Double {
    guard one != other else { return 0 }
    guard !sites.isEmpty else { return roundTrip }
    return roundTrip(sites[one], sites[other]) ?? roundTrip
  }

  package var longestRoundTrip: Double {
    var longest = 0.0
    for one in 0..<max(0, nodes) {
      for other in 0..<max(0, nodes) { longest = max(longest, roundTrip(from: one, to: other)) }
    }
    return longest
  }
}

extension Need {
  /// The need as the model takes it.
  package func scenario(disk: DiskModel, costs: Costs, leader: Int = 0) -> WhatIf {
    var scenario = WhatIf(
      nodes: nodes, disk: disk, load: .open(process: arrivals, perSecond: perSecond))
    scenario.oneWay = (0..<nodes).map { from in
      (0..<nodes).map { UInt64(roundTrip(from: from, to: $0) / 2 * 1e9) }
    }
    scenario.clientOneWay = UInt64(clientRoundTrip / 2 * 1e9)
    scenario.clientsAt = clientsAt
    scenario.leader = leader
    scenario.processors = processors
    scenario.sharesMachine = sharesMachine
    scenario.sharesDisk = sharesDisk || sharesMachine
    scenario.costs = costs
    scenario.commandBytes = keyBytes + valueBytes + Footprint.envelopeBytes
    scenario.eventsPerWrite = watchersPerWrite
    scenario.heartbeatMilliseconds = heartbeatMilliseconds
    scenario.electionMilliseconds = electionMilliseconds
    scenario.seed = seed
    // A low rate is not watched for hours: two minutes, but for what a percentile needs.
    scenario.operations = Int(min(20_000, max(2000, operationsPerSecond * 120)))
    return scenario
  }
}
