// The checks of a soak: of each round's history when the round is over, and of all rows at the end. What was found good is
// changed in a copy and must be rejected.

import Foundation

/// Used by one task at a time.
struct ChaosChecks {
  private let stage: ChaosStage
  /// From which revision on the nodes are asked.
  private var base: Int64 = 0
  /// Writes of unknown outcome of rounds that are over: they may come late, once each, and then nobody has read them.
  private var late: [HistoryEvent] = []
  /// Where a check could not say anything.
  private(set) var gaps: [String] = []
  private(set) var plants = ChaosReport.Plants()
  /// Kinds of changed copies that were made.
  private(set) var plantNames: Set<String> = []

  static let prefix = "history/"

  /// Whether enough was there to change for the checks to be put to the test.
  var isTested: Bool {
    plantNames.isSuperset(of: LedgerPlant.needed) && plantNames.count > LedgerPlant.needed.count
      && !plantNames.isDisjoint(with: HistoryPlants.names)
  }

  init(_ stage: ChaosStage) { self.stage = stage }

  static func prefix(of round: Int) -> String { "\(prefix)\(round)/" }

  /// Forgets what was before: the next round begins here.
  mutating func beginRound() async throws {
    base = try await CoreUpkeep.clear(Self.prefix, ports: stage.cluster.ports)
  }

  /// What is wrong with the history of a round that is over, when every node serves.
  mutating func problems(ofRound round: Int, _ operations: [HistoryOperation]) async throws -> [String] {
    let marker = try await stage.cluster.putMarker("marker.\(round)")
    var logs: [[HistoryEvent]] = []
    for port in stage.cluster.ports {
      logs.append(try await HistoryLog.read(port: port, from: base + 1, through: marker))
    }
    var problems = withoutLate(&logs, round)
    problems += HistoryAudit.problems(of: operations, logs: logs, othersWrite: true)
    let findings = HistoryChecking.findings(in: operations, othersWrite: true)
    problems += findings.problems
    gaps += findings.gaps.map { "round \(round) is undecided: \($0)" }
    problems += try await problemsOfState(round, logs[0])
    if problems.isEmpty { problems += plant(operations, logs) }
    remember(operations, logs[0])
    if !problems.isEmpty { try keep(problems, round, operations, logs[0]) }
    return problems
  }

  /// Takes out of the logs what earlier rounds left under way.
  private mutating func withoutLate(_ logs: inout [[HistoryEvent]], _ round: Int) -> [String] {
    let mine = Self.prefix(of: round)
    var problems: [String] = []
    for event in logs[0] where event.key.hasPrefix(Self.prefix) && !event.key.hasPrefix(mine) {
      let place = late.firstIndex { $0.key == event.key && $0.value == event.value }
      if let place {
        late.remove(at: place)
      } else {
        problems.append("nobody asked for \(event), of a round that is over")
      }
    }
    for node in logs.indices {
      logs[node].removeAll { $0.key.hasPrefix(Self.prefix) && !$0.key.hasPrefix(mine) }
    }
    return problems
  }

  private mutating func remember(_ operations: [HistoryOperation], _ log: [HistoryEvent]) {
    let happened = Set(log.compactMap(\.value))
    for operation in operations where !operation.call.isRead {
      guard case .unknown = operation.outcome else { continue }
      if let value = operation.call.value, happened.contains(value) { continue }
      late.append(HistoryEvent(revision: 0, key: operation.key, value: operation.call.value))
    }
    // Those of two rounds ago had minutes to come.
    late = Array(late.suffix(20_000))
  }

  /// Every node's state of the round's keys is what the events make.
  private func problemsOfState(_ round: Int, _ log: [HistoryEvent]) async throws -> [String] {
    let last = log.last?.revision ?? base
    let mine = Self.prefix(of: round)
    var wanted: [String: HistoryState] = [:]
    for event in log where event.key.hasPrefix(mine) {
      wanted[event.key] = event.value.map { HistoryState(value: $0, modRevision: event.revision) }
    }
    var problems: [String] = []
    var sums: Set<UInt32> = []
    for (node, port) in stage.cluster.ports.enumerated() {
      if try await HistoryLog.state(port: port, prefix: mine, at: last) != wanted {
        problems.append("\(FaultsCluster.name(node)) shows another state at revision \(last) than its events make")
      }
      sums.insert(try await CoreUpkeep.hash(port: port, at: last))
    }
    if sums.count > 1 { problems.append("the nodes' stores have different sums at revision \(last): \(sums)") }
    return problems
  }

  // MARK: - Rows

  /// What is wrong with the rows of all databases.
  mutating func problems(ofRows contents: ChaosLedger.Contents, stored: [[StoredRow]]) throws -> [String] {
    let check = LedgerCheck(stored: stored, asked: contents.rows, grants: contents.grants)
    var problems = contents.problems + check.problems
    if problems.isEmpty {
      for plant in LedgerPlant.all(of: check) {
        count(plant.name, isRejected: !plant.check.problems.isEmpty, "rows", &problems)
      }
    }
    if !problems.isEmpty {
      let rows = stored.enumerated().flatMap { scope, rows in rows.map { "scope \(scope): \($0)" } }
      try write(problems + rows + contents.grants.map { "\($0)" } + [stage.complaints], to: "violation-rows.txt")
    }
    return problems
  }

  /// Floors are at least as high as the rows that they let in.
  func problemsOfFloors(_ stored: [[StoredRow]]) async throws -> [String] {
    var problems: [String] = []
    for (scope, rows) in stored.enumerated() {
      let floor = try await stage.gateway(of: scope).resource.floor(of: ChaosStage.database(scope)) ?? 0
      let highest = rows.map(\.number).max() ?? 0
      if floor < highest { problems.append("scope \(scope): the floor \(floor) is below the row of number \(highest)") }
    }
    return problems
  }

  // MARK: - Planted violations

  private mutating func plant(_ operations: [HistoryOperation], _ logs: [[HistoryEvent]]) -> [String] {
    var problems: [String] = []
    // Each kind once a run: the checks of a changed copy cost as much as those of the history itself.
    for plant in HistoryPlants(operations, log: logs[0]).all where !plantNames.contains(plant.name) {
      let audit = HistoryAudit.problems(of: plant.operations, logs: logs, othersWrite: true)
      count(plant.name, isRejected: !audit.isEmpty, "audit", &problems)
      let search = HistoryChecking.search(plant.operations.filter { $0.key == plant.key })
      count(plant.name, isRejected: search.counterexample != nil, "search", &problems)
      let replay = HistoryChecking.replay(plant.operations, othersWrite: true)
      count(plant.name, isRejected: replay.counterexample != nil, "replay", &problems)
    }
    return problems
  }

  private mutating func count(_ name: String, isRejected: Bool, _ check: String, _ problems: inout [String]) {
    plantNames.insert(name)
    plants.made += 1
    if isRejected { plants.rejected += 1 } else { problems.append("the check by \(check) passes a planted \(name)") }
  }

  // MARK: - Evidence

  /// A history cannot be had again from its seed, so a bad one is kept.
  private func keep(
    _ problems: [String], _ round: Int, _ operations: [HistoryOperation], _ log: [HistoryEvent]
  ) throws {
    let events = log.map { "\($0.revision) \($0.key) = \($0.value ?? "deleted")" }
    try write(
      problems + operations.map(\.description) + events + [stage.complaints], to: "violation-round-\(round).txt")
  }

  func write(_ lines: [String], to name: String) throws {
    try lines.joined(separator: "\n").write(
      toFile: "\(stage.directory)/\(name)", atomically: true, encoding: .utf8)
  }
}
