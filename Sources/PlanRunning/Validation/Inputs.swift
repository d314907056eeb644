// Owns what is measured before anything is predicted, none of it on the runs that are predicted: the disk under each delay,
// the relay's round trip, and processor time from closed loads without delays.

import Conformance
import DiskProbe
import Foundation
import Planning

enum Inputs {
  /// The disk as it is with so much added to each flush, measured by a process that has the same delay injected as the nodes.
  static func disk(
    delayMilliseconds: Int, in directory: String, seconds: Double
  ) async throws -> [FlushSeries] {
    let executable = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
    var environment: [String: String] = [:]
    if delayMilliseconds > 0 {
      environment = [
        "LD_PRELOAD": FaultControl.library(for: executable), "PORTCULLIS_FAULT_BELOW": directory,
        "PORTCULLIS_FAULT_FLUSH_DELAY_US": "\(delayMilliseconds * 1000)",
      ]
    }
    var series: [FlushSeries] = []
    let intervals = FlushMatrix.logIntervalsMicroseconds.map { ",\($0)us" }.joined()
    let choices = [
      ["--records", "1", "--interval", "0" + intervals], ["--records", "\(FlushMatrix.manyRecords)"],
      ["--records", "1", "--writers", "3"],
    ]
    for choice in choices {
      let probe = try RunningProgram(
        ["fsync", directory, "--seconds", "\(seconds)", "--output", "json"] + choice, executable: executable,
        environment: environment, isOutOfReach: true)
      let code = await probe.exitCode()
      await probe.waitForEndOfOutput()
      guard code == 0 else { throw PlanError("the disk below \(directory) could not be measured: \(probe.errors)") }
      series += try FlushProfile(json: probe.output).series
    }
    return series
  }
}
