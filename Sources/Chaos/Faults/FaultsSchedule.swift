// The faults, and which of them come in what order to whom: drawn from a seed, which fixes the schedule. When exactly the
// processes feel them is the machine's affair, so a seed gives the same faults again and not the same history.

import Glibc

package enum FaultsKind: String, CaseIterable, Sendable {
  case killLeader, killFollower, killAll, killLeaderAndNext
  case pauseLeader, pauseFollower, pauseLeaderKillFollower
  case isolateLeader, isolateLeaderSilently, isolateLeaderAndDeliverLate, isolateFollower, isolateFollowerKillLeader
  case leaderUnheard, leaderDeaf, leaderLosesOne
  case everybodyAlone, slow, flapping

  /// Whether a majority can go on meanwhile, and must.
  package var leavesMajority: Bool {
    switch self {
    case .killAll, .everybodyAlone, .pauseLeaderKillFollower, .isolateFollowerKillLeader: false
    default: true
    }
  }
}

package struct FaultsStep: Sendable {
  package let kind: FaultsKind
  /// Which of the followers, where one is meant.
  package let follower: Int
  /// How long it lasts, in election timeouts.
  package let timeouts: Double

  package var milliseconds: Int { Int(timeouts * Double(FaultsCluster.electionMilliseconds)) }
}

package enum FaultsSchedule {
  /// Every kind once, in an order of the seed's.
  package static func everyKind(_ random: inout HistoryRandom) -> [FaultsStep] {
    FaultsKind.allCases.shuffled(using: &random).map { step($0, &random) }
  }

  package static func step(_ kind: FaultsKind, nodes: Int = 3, _ random: inout HistoryRandom) -> FaultsStep {
    // Longer than two election timeouts, so that the others have had the time to elect, and not always the same.
    FaultsStep(
      kind: kind, follower: Int.random(in: 0..<nodes - 1, using: &random),
      timeouts: Double.random(in: 2.2...3.5, using: &random))
  }
}

/// Carries out faults on a cluster under load.
package struct FaultsDriver {
  private let cluster: FaultsCluster
  private let recorder: HistoryRecorder
  /// As many operations as have to be acknowledged for the cluster to be at work.
  private let progress: Int
  /// How often each kind was carried out.
  package private(set) var counts: [FaultsKind: Int] = [:]
  /// How long it took until everything had served again after the last one.
  package private(set) var lastRecovery = Duration.zero
  private var dead: [Int] = []
  private var stopped: [Int] = []

  package init(_ cluster: FaultsCluster, _ recorder: HistoryRecorder, progress: Int = 30) {
    self.cluster = cluster
    self.recorder = recorder
    self.progress = progress
  }

  /// Brings a fault about, lets it last, ends it, and waits until every node serves again.
  package mutating func carryOut(_ step: FaultsStep) async throws {
    let leader = try await cluster.leader()
    let followers = cluster.nodes.filter { $0 != leader }
    let follower = followers[step.follower]
    let before = recorder.acknowledged
    try await begin(step.kind, leader: leader, follower: follower)
    if step.kind == .flapping {
      try await flap(leader: leader, follower: follower, milliseconds: step.milliseconds)
    } else {
      // The length of the fault itself.
      try await Task.sleep(for: .milliseconds(step.milliseconds))
    }
    if step.kind.leavesMajority { try await waitForProgress(since: before, "\(step.kind)") }
    try await endAll()
    try await settle(after: "\(step.kind)")
    counts[step.kind, default: 0] += 1
  }

  /// Waits until every node serves again after a fault, and puts new keys into use.
  package mutating func settle(after what: String) async throws {
    let began = ContinuousClock.now
    try await cluster.waitUntilServing()
    let healed = recorder.acknowledged
    try await waitForProgress(since: healed, what)
    lastRecovery = began.duration(to: .now)
    recorder.renewKeys(2)
  }

  private func waitForProgress(since before: Int, _ what: String) async throws {
    _ = try await eventually(within: 20, "progress with or after \(what)") {
      try cluster.checkAlive()
      return recorder.acknowledged >= before + progress ? true : nil
    }
  }

  private mutating func begin(_ kind: FaultsKind, leader: Int, follower: Int) async throws {
    let proxy = cluster.proxy
    switch kind {
    case .killLeader: try await kill([leader])
    case .killFollower: try await kill([follower])
    case .killAll: try await kill(Array(cluster.nodes))
    case .killLeaderAndNext:
      try await kill([leader])
      try await endAll()
      try await kill([try await cluster.leader()])
    case .pauseLeader: try await pause(leader)
    case .pauseFollower: try await pause(follower)
    case .pauseLeaderKillFollower:
      try await pause(leader)
      try await kill([follower])
    case .isolateLeader: try await proxy.set(.cut, on: around(leader))
    case .isolateLeaderSilently: try await proxy.set(.drop, on: around(leader))
    case .isolateLeaderAndDeliverLate: try await proxy.set(.hold, on: around(leader))
    case .isolateFollower: try await proxy.set(.drop, on: around(follower))
    case .isolateFollowerKillLeader:
      try await proxy.set(.drop, on: around(follower))
      try await kill([leader])
    case .leaderUnheard: try await proxy.set(.drop, on: around(leader).filter { $0.from == leader })
    case .leaderDeaf: try await proxy.set(.drop, on: around(leader).filter { $0.to == leader })
    case .leaderLosesOne: try await proxy.set(.cut, on: FaultsDriver.between(leader, follower))
    case .everybodyAlone: try await proxy.set(.drop, on: FaultsDirection.all(cluster.nodes.count))
    case .slow:
      try await proxy.set(.delay(FaultsCluster.heartbeatMilliseconds), on: FaultsDirection.all(cluster.nodes.count))
    case .flapping: break
    }
  }

  private mutating func kill(_ nodes: [Int]) async throws {
    dead += nodes
    try await cluster.kill(nodes)
  }

  private mutating func pause(_ node: Int) async throws {
    stopped.append(node)
    try await cluster.pause(node)
  }

  /// Everything that was done is undone.
  private mutating func endAll() async throws {
    for node in stopped { cluster.resume(node) }
    stopped = []
    try await cluster.proxy.heal()
    for node in dead { try await cluster.launch(node) }
    dead = []
  }

  /// The leader is cut off and back again several times within an election timeout.
  private func flap(leader: Int, follower: Int, milliseconds: Int) async throws {
    let end = ContinuousClock.now + .milliseconds(milliseconds)
    var isCut = false
    while ContinuousClock.now < end {
      isCut.toggle()
      try await cluster.proxy.set(isCut ? .cut : .open, on: around(leader))
      try await Task.sleep(for: .milliseconds(FaultsCluster.electionMilliseconds / 4))
    }
    try await cluster.proxy.heal()
  }

  private func around(_ node: Int) -> [FaultsDirection] { FaultsDriver.around(node, of: cluster.nodes.count) }

  /// Every direction from a node and to it.
  package static func around(_ node: Int, of nodes: Int) -> [FaultsDirection] {
    FaultsDirection.all(nodes).filter { $0.from == node || $0.to == node }
  }

  private static func between(_ one: Int, _ other: Int) -> [FaultsDirection] {
    [FaultsDirection(from: one, to: other), FaultsDirection(from: other, to: one)]
  }
}
