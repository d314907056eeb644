// The lock-set workload for several systems, one after another on the same machine: locks of etcds, whose writes nothing
// checks, and ours, with the fence off and on.

import Client
import Foundation

package struct LockSetComparison: Sendable {
  package struct Row: Encodable, Sendable {
    package let system: String
    package let acknowledged: Int
    package let lost: Int
    /// Of what was acknowledged, in percent.
    package let lostPercent: Double
    package let refused: Int
    package let pauses: Int
    package let leaseMilliseconds: Int

    enum CodingKeys: String, CodingKey {
      case system, acknowledged, lost, refused, pauses
      case lostPercent = "lost_percent"
      case leaseMilliseconds = "lease_milliseconds"
    }

    init(_ system: String, _ outcome: LockSetRun.Outcome, _ times: LockSetRun.Times) {
      self.system = system
      (acknowledged, lost, lostPercent) = (outcome.acknowledged, outcome.lost, outcome.share)
      (refused, pauses, leaseMilliseconds) = (outcome.refused, outcome.pauses, times.lease)
    }
  }

  package var executable: String
  package var directory: String
  /// The etcd programs.
  package var etcds: [String]
  package var isShort = false

  package init(executable: String, directory: String, etcds: [String]) {
    (self.executable, self.directory, self.etcds) = (executable, directory, etcds)
  }

  /// - Parameter report: hears of each system as it is done.
  /// - Throws: where a system could not be started or loaded; all processes have ended then too.
  package func run(_ report: (Row) -> Void = { _ in }) async throws -> [Row] {
    let times = isShort ? LockSetRun.Times.short : .long
    let wholeSeconds = isShort ? LockSetRun.Times.shortWithWholeSeconds : .long
    return try await Deployment.withDeployment(of: executable, in: directory) { deployment in
      let core = try await deployment.startCore()
      var rows: [Row] = []
      func add(_ row: Row) {
        rows.append(row)
        report(row)
      }
      for (place, etcd) in etcds.enumerated() {
        let stage = try stage("etcd-\(place)", .unfenced, deployment, core)
        let (endpoint, version) = try await start(etcd, stage)
        let outcome = try await stage.playLockSet(wholeSeconds, etcd: endpoint)
        add(Row("etcd \(version) locks, no fence", outcome, wholeSeconds))
      }
      for (guarding, name) in [(Guarding.unfenced, "ours, fence off"), (.fenced, "ours, fence on")] {
        let stage = try stage("ours-\(guarding.rawValue)", guarding, deployment, core)
        add(Row(name, try await stage.playLockSet(times), times))
      }
      return rows
    }
  }

  private func stage(
    _ name: String, _ guarding: Guarding, _ deployment: Deployment, _ core: CoreProcesses
  ) throws -> Stage {
    let place = "\(directory)/\(name)"
    try FileManager.default.createDirectory(atPath: place, withIntermediateDirectories: true)
    return Stage(
      deployment: deployment, core: core, guarding: guarding, directory: place, name: name, isShort: isShort)
  }

  private func start(_ etcd: String, _ stage: Stage) async throws -> (endpoint: String, version: String) {
    let endpoint = try stage.deployment.startEtcd(etcd, in: "\(stage.directory)/etcd")
    let end = ContinuousClock.now + .seconds(30)
    while true {
      try Task.checkCancellation()
      let status = try await EndpointStatus.of(try Endpoint.list(parsing: endpoint)).first
      if let answer = status?.answer, answer.leaderID != "0" { return (endpoint, answer.version) }
      guard ContinuousClock.now < end else { throw ConformanceError("\(etcd) was not ready within 30 s") }
    }
  }
}
