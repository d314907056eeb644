// `portcullis status` for people.

package import Client

package enum StatusTable {
  package static func text(_ statuses: [EndpointStatus]) -> String {
    var table = TextTable(
      "ENDPOINT", "NAME", "MEMBER", "ROLE", "TERM", "APPLIED", "REVISION", "DB SIZE", "IN USE", "QUOTA", "API")
    for status in statuses {
      guard let answer = status.answer else {
        table.add(status.endpoint, "", "", "NO ANSWER", "", "", "", "", "", "", "")
        continue
      }
      table.add(
        status.endpoint, answer.name, answer.memberID, role(answer), "\(answer.term)", applied(answer),
        "\(answer.revision)", amount(answer.dbSizeBytes), amount(answer.dbSizeInUseBytes),
        answer.quotaBytes > 0 ? amount(answer.quotaBytes) : "", answer.version)
    }
    return ([table.text] + remarks(statuses)).joined(separator: "\n")
  }

  private static func role(_ answer: EndpointStatus.Answer) -> String {
    if answer.isLeader { return "leader" }
    let role = answer.isLearner ? "learner" : "voter"
    return answer.leaderID == "0" ? "\(role), knows no leader" : role
  }

  private static func applied(_ answer: EndpointStatus.Answer) -> String {
    answer.appliedIndex == answer.index ? "\(answer.index)" : "\(answer.appliedIndex) of \(answer.index)"
  }

  /// What a reader must not miss, each once.
  private static func remarks(_ statuses: [EndpointStatus]) -> [String] {
    var lines: [String] = []
    for status in statuses {
      if let problem = status.problem { lines.append("\(status.endpoint): \(TerminalText.clean(problem))") }
      guard let answer = status.answer else { continue }
      for alarm in answer.alarms where !lines.contains("ALARM: \(alarm)") { lines.append("ALARM: \(alarm)") }
      for error in answer.errors { lines.append("\(status.endpoint): \(TerminalText.clean(error))") }
    }
    let clusters = Set(statuses.compactMap(\.answer?.clusterID))
    if clusters.count > 1 {
      lines.append("THESE ARE \(clusters.count) CLUSTERS: \(clusters.sorted().joined(separator: ", "))")
    }
    return lines.isEmpty ? [] : [""] + lines
  }

  private static func amount(_ bytes: Int64) -> String {
    if bytes < 10_000 { return "\(bytes) B" }
    if bytes < 10_000_000 { return "\(bytes / 1024) KiB" }
    return bytes < 10_000_000_000 ? "\(bytes / 1_048_576) MiB" : "\(bytes / 1_073_741_824) GiB"
  }
}
