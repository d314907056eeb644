// The faults, and which of them come in what order to whom: drawn from a seed, which fixes the schedule. When exactly the
// processes feel them is the machine's affair, so a seed gives the same faults again and not the same history.

import Glibc

enum FaultsKind: String, CaseIterable, Sendable {
  case killLeader, killFollower, killAll, killLeaderAndNext
  case pauseLeader, pauseFollower, pauseLeaderKillFollower
  case isolateLeader, isolateLeaderSilently, isolateLeaderAndDeliverLate, isolateFollower, isolateFollowerKillLeader
  case leaderUnheard, leaderDeaf, leaderLosesOne
  case everybodyAlone, slow, flapping

  /// Whether a majority can go on meanwhile, and must.
  var leavesMajority: Bool {
    switch self {
    case .killAll, .everybodyAlone, .pauseLeaderKillFollower, .isolateFollowerKillLeader: false
    default: true
    }
  }
}

struct FaultsStep: Sendable {
  let kind: FaultsKind
  /// Which of the two followers, where one is meant.
  let follower: Int
  /// How long it lasts, in election timeouts.
  let timeouts: Double

  var milliseconds: Int { Int(timeouts * Double(FaultsCluster.electionMilliseconds)) }
}

enum FaultsSchedule {
  /// Every kind once, in an order of the seed's.
  static func everyKind(_ random: inout HistoryRandom) -> [FaultsStep] {
    FaultsKind.allCases.shuffled(using: &random).map { step($0, &random) }
  }

  static func step(_ kind: FaultsKind, _ random: inout HistoryRandom) -> FaultsStep {
    // Longer than two election timeouts, so that the others have had the time to elect, and not always the same.
    FaultsStep(
      kind: kind, follower: Int.random(in: 0...1, using: &random),
      timeouts: Double.random(in: 2.2...3.5, using: &random))
  }
}

/// Carries out faults on a cluster under load.
struct FaultsDriver {
  let cluster: FaultsCluster
  let recorder: HistoryRecorder
  /// How often each kind was carried out.
  private(set) var counts: [FaultsKind: Int] = [:]
  private var dead: [Int] = []
  private var stopped: [Int] = []

  init(_ cluster: FaultsCluster, _ recorder: HistoryRecorder) {
    self.cluster = cluster
    self.recorder = recorder
  }

  /// Brings a fault about, lets it last, ends it, and waits until every node serves again.
  mutating func carryOut(_ step: FaultsStep) async throws {
    let leader = try await cluster.leader()
    let followers = (0..<3).filter { $0 != leader }
    let follower = followers[step.follower]
    let before = recorder.acknowledged
    try await begin(step.kind, leader: leader, follower: follower)
    if step.kind == .flapping {
      try await flap(leader: leader, follower: follower, milliseconds: step.milliseconds)
    } else {
      // The length of the fault itself.
      try await Task.sleep(for: .milliseconds(step.milliseconds))
    }
    if step.kind.leavesMajority { try await waitForProgress(since: before, during: step) }
    try await endAll()
    try await cluster.waitUntilServing()
    let healed = recorder.acknowledged
    try await waitForProgress(since: healed, during: step)
    counts[step.kind, default: 0] += 1
    recorder.renewKeys(2)
  }

  private func waitForProgress(since before: Int, during step: FaultsStep) async throws {
    _ = try await eventually(within: 20, "progress with or after \(step.kind)") {
      try cluster.checkAlive()
      return recorder.acknowledged >= before + 30 ? true : nil
    }
  }

  private mutating func begin(_ kind: FaultsKind, leader: Int, follower: Int) async throws {
    let proxy = cluster.proxy
    switch kind {
    case .killLeader: try await kill([leader])
    case .killFollower: try await kill([follower])
    case .killAll: try await kill([0, 1, 2])
    case .killLeaderAndNext:
      try await kill([leader])
      try await endAll()
      try await kill([try await cluster.leader()])
    case .pauseLeader: pause(leader)
    case .pauseFollower: pause(follower)
    case .pauseLeaderKillFollower:
      pause(leader)
      try await kill([follower])
    case .isolateLeader: try await proxy.set(.cut, on: Self.around(leader))
    case .isolateLeaderSilently: try await proxy.set(.drop, on: Self.around(leader))
    case .isolateLeaderAndDeliverLate: try await proxy.set(.hold, on: Self.around(leader))
    case .isolateFollower: try await proxy.set(.drop, on: Self.around(follower))
    case .isolateFollowerKillLeader:
      try await proxy.set(.drop, on: Self.around(follower))
      try await kill([leader])
    case .leaderUnheard: try await proxy.set(.drop, on: Self.around(leader).filter { $0.from == leader })
    case .leaderDeaf: try await proxy.set(.drop, on: Self.around(leader).filter { $0.to == leader })
    case .leaderLosesOne: try await proxy.set(.cut, on: Self.between(leader, follower))
    case .everybodyAlone: try await proxy.set(.drop, on: FaultsDirection.all)
    case .slow: try await proxy.set(.delay(FaultsCluster.heartbeatMilliseconds), on: FaultsDirection.all)
    case .flapping: break
    }
  }

  private mutating func kill(_ nodes: [Int]) async throws {
    dead += nodes
    try await cluster.kill(nodes)
  }

  private mutating func pause(_ node: Int) {
    stopped.append(node)
    cluster.send(SIGSTOP, to: node)
  }

  /// Everything that was done is undone.
  private mutating func endAll() async throws {
    for node in stopped { cluster.send(SIGCONT, to: node) }
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
      try await cluster.proxy.set(isCut ? .cut : .open, on: Self.around(leader))
      try await Task.sleep(for: .milliseconds(FaultsCluster.electionMilliseconds / 4))
    }
    try await cluster.proxy.heal()
  }

  static func around(_ node: Int) -> [FaultsDirection] {
    FaultsDirection.all.filter { $0.from == node || $0.to == node }
  }

  static func between(_ one: Int, _ other: Int) -> [FaultsDirection] {
    [FaultsDirection(from: one, to: other), FaultsDirection(from: other, to: one)]
  }
}
