// Which faults come in what order, from a seed: the whole list in a new order each time it is through, kinds taking turns.

/// One fault, with whom it is done to.
package enum ChaosStep: Sendable, Hashable {
  case core(FaultsKind)
  case killGateway, killEverything, pauseGateway
  case slowDiskOfLeader, slowDiskOfFollower, slowDiskOfGateway
  case clockOfLeader, clockOfFollower, clockOfGateway

  static let all: [ChaosStep] =
    FaultsKind.allCases.map { .core($0) } + [
      .killGateway, .killEverything, .pauseGateway, .slowDiskOfLeader, .slowDiskOfFollower, .slowDiskOfGateway,
      .clockOfLeader, .clockOfFollower, .clockOfGateway,
    ]

  var name: String {
    if case .core(let kind) = self { kind.rawValue } else { "\(self)" }
  }

  /// What of the faults that can be asked for it does; the first is the one that it is for.
  var faults: [ChaosFault] {
    switch self {
    case .core(.killLeader), .core(.killFollower), .core(.killAll), .core(.killLeaderAndNext): [.kill]
    case .core(.pauseLeader), .core(.pauseFollower): [.pause]
    case .core(.pauseLeaderKillFollower): [.pause, .kill]
    case .core(.isolateFollowerKillLeader): [.partition, .kill]
    case .core: [.partition]
    case .killGateway, .killEverything: [.kill]
    case .pauseGateway: [.pause]
    case .slowDiskOfLeader, .slowDiskOfFollower, .slowDiskOfGateway: [.slowDisk]
    case .clockOfLeader, .clockOfFollower, .clockOfGateway: [.clock]
    }
  }
}

package struct ChaosSchedule: Sendable {
  private let steps: [[ChaosStep]]
  private var deck: [ChaosStep] = []
  private var random: HistoryRandom

  package init(_ faults: Set<ChaosFault>, random: HistoryRandom) {
    let possible = ChaosStep.all.filter { faults.isSuperset(of: $0.faults) }
    steps = ChaosFault.allCases.map { fault in possible.filter { $0.faults[0] == fault } }.filter { !$0.isEmpty }
    self.random = random
  }

  /// Nil where no faults are wanted.
  package mutating func next() -> ChaosStep? {
    if deck.isEmpty { shuffle() }
    return deck.popLast()
  }

  /// Kinds take turns, so that a short run has met each of them.
  private mutating func shuffle() {
    var left = steps.map { $0.shuffled(using: &random) }
    var order: [ChaosStep] = []
    while left.contains(where: { !$0.isEmpty }) {
      for place in left.indices.shuffled(using: &random) {
        if let step = left[place].popLast() { order.append(step) }
      }
    }
    deck = order.reversed()
  }
}
