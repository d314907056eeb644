// Owns a cluster that runs for a few loads: nodes on one directory, with a disk that is slowed and a network that is.

import Conformance
import Foundation
import Glibc
import Measurement
import Planning
import Workloads

/// The delays of a cell.
package struct InjectedDelays: Sendable, Hashable, Codable {
  package var nodes: Int
  package var diskMilliseconds: Int
  package var networkMilliseconds: Int

  package init(nodes: Int, diskMilliseconds: Int = 0, networkMilliseconds: Int = 0) {
    self.nodes = nodes
    self.diskMilliseconds = diskMilliseconds
    self.networkMilliseconds = networkMilliseconds
  }
}

/// What is kept of a run with a report.
package struct TrialFigures: Sendable, Codable {
  /// Of the whole run, that of the warm-up too.
  var operations: Double
  /// Of the measured part.
  var seconds: Double
  var generatorNanosecondsPerOperation: Double
  var threads: ThreadTimes
  /// From the call to the answer; nil where there were too few.
  var p10Nanoseconds: UInt64?
  var p50Nanoseconds: UInt64?
  var p90Nanoseconds: UInt64?
  var p99Nanoseconds: UInt64?
  /// Of the machine's processors, what other programs and the host took; nil in reports that are older.
  var shareOfOthers: Double?

  /// Processor time for each operation.
  var use: Prediction.Use {
    let each = { (part: ThreadTimes.Part) in threads[part].nanoseconds / max(1, operations) }
    return Prediction.Use(
      clients: generatorNanosecondsPerOperation, loop: each(.loop), writer: each(.writer),
      eventLoops: each(.eventLoops))
  }
}

/// A load's figures, and what it cost.
struct Trial: Sendable {
  var result: BenchResult
  var threads: ThreadTimes
  /// What other programs took of the machine meanwhile.
  var shareOfOthers: Double
  /// What nodes and generator took of it.
  var ownShare: Double

  /// Stalls of the machine make a generator late as they do its target. Latency counts from sending here, and the model has the
  /// stalls, too, so that they do not void a run; a generator that is late beside them does.
  static let acceptedLagNanoseconds: UInt64 = 10_000_000
  static let usualLagNanoseconds: UInt64 = 1_000_000

  /// Whether it was late so often that no stalls explain it.
  var isGeneratorLate: Bool { result.measured.scheduleLag.percentile(90) ?? 0 > Self.usualLagNanoseconds }

  var operations: Double { Double(result.measured.succeeded + result.warmUp.operations) }
  /// From the call: what the generator itself was late is none of the cluster's.
  var latency: LatencyHistogram { result.measured.latencyFromSend }

  var figures: TrialFigures {
    TrialFigures(
      operations: operations, seconds: Double(result.measured.durationNanoseconds) / 1e9,
      generatorNanosecondsPerOperation: result.generator.cpuNanosecondsPerOperation,
      threads: threads, p10Nanoseconds: latency.percentile(10), p50Nanoseconds: latency.percentile(50),
      p90Nanoseconds: latency.percentile(90), p99Nanoseconds: latency.percentile(99), shareOfOthers: shareOfOthers)
  }
}

struct TrialCluster {
  /// The size of what is put, everywhere in a validation.
  static let keyBytes = 32
  static let valueBytes = 256
  static let keys: UInt64 = 10_000

  private let core: CoreProcesses
  private let endpoints: [String]

  /// Starts it below `directory`, gives it to `body` and ends it.
  static func with<Result>(
    _ delays: InjectedDelays, in directory: String, _ body: (TrialCluster) async throws -> Result
  ) async throws -> Result {
    let place = "\(directory)/portcullis-plan-\(ProcessInfo.processInfo.processIdentifier)"
    defer { try? FileManager.default.removeItem(atPath: place) }
    let executable = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
    return try await Deployment.withDeployment(of: executable, in: place, isOutOfReach: true) { deployment in
      // With a delay of 0 the library stays out as well: it costs an fstat for each flush.
      let faults = delays.diskMilliseconds > 0 ? try FaultControl(for: executable, below: place) : nil
      faults?[.flushDelayMicroseconds] = delays.diskMilliseconds * 1000
      let relay =
        delays.networkMilliseconds > 0 ? DelayRelay(delayMicroseconds: delays.networkMilliseconds * 1000) : nil
      let core = try await deployment.startCore(nodes: delays.nodes, environment: faults?.environment ?? [:]) { ports in
        guard let relay, delays.nodes > 1 else { return ports }
        return try await relay.start(to: ports)
      }
      var endpoints = core.nodes.map(\.address)
      if let relay, delays.nodes == 1 {
        let port = Int(endpoints[0].split(separator: ":").last ?? "") ?? 0
        endpoints = try await relay.start(to: [port]).map { "127.0.0.1:\($0)" }
      }
      let cluster = TrialCluster(core: core, endpoints: endpoints)
      let result: Swift.Result<Result, any Error>
      do { result = .success(try await body(cluster)) } catch { result = .failure(error) }
      for node in core.nodes { _ = await node.stop() }
      await relay?.stop()
      return try result.get()
    }
  }

  private var processes: [pid_t] { core.nodes.compactMap { $0.program?.processID } }

  /// The first of some runs that nothing else disturbed, or the one that was disturbed least: rows are held to the same, and what
  /// they are predicted from must not be of a worse time.
  func calmest(_ shape: LoadShape, seconds: Double, seed: UInt64, _ options: ValidationOptions) async throws -> Trial {
    var calmest = try await run(shape, seconds: seconds, warmUpSeconds: 0.5, seed: seed)
    for _ in 1..<max(1, options.attempts) where calmest.shareOfOthers > options.mostOfOthers {
      let trial = try await run(shape, seconds: seconds, warmUpSeconds: 0.5, seed: seed)
      if trial.shareOfOthers < calmest.shareOfOthers { calmest = trial }
    }
    return calmest
  }

  func run(_ shape: LoadShape, seconds: Double, warmUpSeconds: Double = 1, seed: UInt64 = 1) async throws -> Trial {
    var options = LoadOptions()
    options.endpoints = endpoints
    options.shape = shape
    if case .closed(let clients) = shape {
      options.connections = min(clients, 4 * endpoints.count)
    } else {
      options.connections = 4 * endpoints.count
    }
    options.duration = .milliseconds(Int64(seconds * 1000))
    options.warmUp = .fixed(.milliseconds(Int64(warmUpSeconds * 1000)))
    options.keySizeBytes = Self.keyBytes
    options.valueSizeBytes = Self.valueBytes
    options.keyCount = Self.keys
    options.seed = seed
    options.budget.alwaysAcceptedLagNanoseconds = Trial.acceptedLagNanoseconds
    let (threads, machine, own) = (ThreadTimes.read(processes), MachineUse.read(), MachineUse.ownNanoseconds)
    let result = try await runLoad(options)
    let spent = ThreadTimes.read(processes) - threads
    let after = MachineUse.read()
    let used = spent.totalNanoseconds + MachineUse.ownNanoseconds - own
    return Trial(
      result: result, threads: spent, shareOfOthers: after.shareOfOthers(since: machine, own: used),
      ownShare: used / max(1, after.allNanoseconds - machine.allNanoseconds))
  }
}
