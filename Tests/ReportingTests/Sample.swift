// A finished run with round figures, for the tests to change one thing at a time in.

import Measurement

enum Sample {
  static func result() -> BenchResult {
    BenchResult(
      scenario: "put", startedAt: "2025-01-02T03:04:05Z", configuration: configuration, environment: environment,
      target: TargetDescription(endpoints: ["127.0.0.1:2379"], version: "3.5.1", cluster: "cdf818194e3a8c32"),
      ending: .completed, judgement: Judgement(verdict: .valid, reasons: []),
      warmUp: WarmUpRecord(end: .steady, durationNanoseconds: 2_000_000_000, operations: 40_000),
      measured: figures,
      generator: GeneratorFigures(
        cpuNanoseconds: 3_100_000_000, durationNanoseconds: 10_000_000_000, operations: 200_000,
        busiestThreadShare: 0.2),
      timeline: [
        TimelineSlice(
          endNanoseconds: 1_000_000_000, durationNanoseconds: 1_000_000_000, succeeded: 20_000, failed: 0,
          inFlight: 31, latency: figures.latencyFromSend)
      ])
  }

  private static var configuration: LoadConfiguration {
    LoadConfiguration(
      operation: .put, shape: .open(process: .poisson, ratePerSecond: 20_000, maxInFlight: 10_000), connections: 64,
      eventLoops: 1,
      durationNanoseconds: 10_000_000_000, totalOperations: nil, callTimeoutNanoseconds: 10_000_000_000,
      keyPrefix: "portcullis/bench/", keySizeBytes: 32, keyCount: 10_000, keyOrder: .random, valueSizeBytes: 256,
      seed: 1)
  }

  private static var environment: RunEnvironment {
    var environment = RunEnvironment(processorCount: 2, buildConfiguration: "release")
    environment.kernel = "6.1.0"
    environment.fileSystem = RunEnvironment.FileSystemDescription(
      type: "ext4", source: "/dev/vda", mountPoint: "/", mountOptions: "rw", writeCache: "write back")
    return environment
  }

  private static var figures: LoadFigures {
    var figures = LoadFigures()
    figures.durationNanoseconds = 10_000_000_000
    figures.started = 200_000
    figures.succeeded = 200_000
    figures.answeredWithin = 199_980
    figures.late = 3
    figures.oracle.checked = 200_000
    figures.latencyFromIntendedStart = latency(1_500_000, maximum: 8_120_000)
    figures.latencyFromSend = latency(1_400_000, maximum: 8_000_000)
    figures.scheduleLag = latency(100_000, maximum: 120_000)
    return figures
  }

  private static func latency(_ usual: UInt64, maximum: UInt64) -> LatencyHistogram {
    var histogram = LatencyHistogram()
    histogram.record(nanoseconds: usual, times: 199_999)
    histogram.record(nanoseconds: maximum)
    return histogram
  }
}
