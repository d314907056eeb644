// Carries out the faults of a soak one after another, and waits after each until everything serves again.

import Conformance
import Foundation

struct ChaosDriver {
  private let stage: ChaosStage
  private let ledger: ChaosLedger
  private var faults: FaultsDriver
  /// How often each fault was carried out.
  private var own: [String: Int] = [:]
  /// The longest time from the end of a fault until everything had served again, in seconds.
  private(set) var longestRecovery = 0.0

  init(_ stage: ChaosStage, _ recorder: HistoryRecorder, _ ledger: ChaosLedger, operationsPerSecond: Int) {
    self.stage = stage
    self.ledger = ledger
    faults = FaultsDriver(stage.cluster, recorder, progress: min(30, max(3, operationsPerSecond / 5)))
  }

  /// How often each fault was carried out, by name.
  var counts: [String: Int] {
    own.merging(faults.counts.map { ($0.key.rawValue, $0.value) }) { $0 + $1 }
  }

  /// - Throws: where something does not serve again within its bound, which is a violation.
  mutating func carryOut(_ step: ChaosStep, _ random: inout HistoryRandom) async throws {
    if case .core(let kind) = step {
      try await faults.carryOut(FaultsSchedule.step(kind, nodes: stage.cluster.nodes.count, &random))
    } else {
      let isDone = try await perform(step, &random)
      try await faults.settle(after: step.name)
      if isDone { own[step.name, default: 0] += 1 }
    }
    try await waitForGateways(after: step.name)
  }

  /// - Returns: whether the fault was felt.
  private mutating func perform(_ step: ChaosStep, _ random: inout HistoryRandom) async throws -> Bool {
    let gateway = stage.gateways[Int.random(in: stage.gateways.indices, using: &random)]
    let length = Duration.milliseconds(Int.random(in: 900...2500, using: &random))
    let amount = Int.random(in: 20...150, using: &random)
    let hours = Bool.random(using: &random) ? 1 : -1
    let follower = Int.random(in: 0..<stage.cluster.nodes.count - 1, using: &random)
    switch step {
    case .core: return false
    case .killGateway:
      await gateway.process.kill()
      try await Task.sleep(for: length)
      try gateway.process.launch()
    case .killEverything:
      try await stage.killAll()
      try await Task.sleep(for: length)
      try await stage.launchAll()
    case .pauseGateway:
      try await gateway.process.pause()
      // Beyond the holders' leases, and beyond what the core waits for a gateway's word.
      try await Task.sleep(for: length * 2)
      gateway.process.resume()
    case .slowDiskOfLeader: return try await slow(try await nodeControl(leader: true, follower), amount, length)
    case .slowDiskOfFollower: return try await slow(try await nodeControl(leader: false, follower), amount, length)
    case .slowDiskOfGateway: return try await slow(gateway.control, amount, length)
    case .clockOfLeader: return try await jump(try await nodeControl(leader: true, follower), hours, length)
    case .clockOfFollower: return try await jump(try await nodeControl(leader: false, follower), hours, length)
    case .clockOfGateway: return try await jump(gateway.control, hours, length)
    }
    return true
  }

  private func nodeControl(leader wantsLeader: Bool, _ follower: Int) async throws -> FaultControl? {
    let leader = try await stage.cluster.leader()
    let node = wantsLeader ? leader : stage.cluster.nodes.filter { $0 != leader }[follower]
    return stage.nodeControls.indices.contains(node) ? stage.nodeControls[node] : nil
  }

  /// Each flush takes so many milliseconds longer. Felt where a flush was.
  private func slow(_ control: FaultControl?, _ milliseconds: Int, _ length: Duration) async throws -> Bool {
    guard let control else { return false }
    defer { control.clear() }
    let before = control[.flushesDelayed]
    control[.flushDelayMicroseconds] = milliseconds * 1000
    try await Task.sleep(for: length)
    return control[.flushesDelayed] > before
  }

  /// There and back again. Felt where the process has this control.
  private func jump(_ control: FaultControl?, _ hours: Int, _ length: Duration) async throws -> Bool {
    guard let control else { return false }
    defer { control.clear() }
    control.setClock(hoursAhead: hours)
    try await Task.sleep(for: length)
    return control[.attached] > 0
  }

  /// Waits until every gateway serves and has taken a row.
  private mutating func waitForGateways(after what: String) async throws {
    let began = ContinuousClock.now
    for gateway in stage.gateways { try await gateway.waitUntilServing() }
    let before = stage.gateways.map { $0.scopes.map(ledger.acknowledged) }
    for (gateway, before) in zip(stage.gateways, before) {
      _ = try await eventually(within: ChaosSettings.patienceSeconds, "a row at \(gateway.name) after \(what)") {
        try stage.checkAlive()
        return gateway.scopes.map(ledger.acknowledged) != before ? true : nil
      }
    }
    longestRecovery = max(longestRecovery, (faults.lastRecovery + began.duration(to: .now)).seconds)
  }
}

extension Duration {
  var seconds: Double { Double(components.seconds) + Double(components.attoseconds) / 1e18 }
}
