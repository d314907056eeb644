// Owns the JSON of plans and of costs: names in snake case, keys sorted, so that the same plan gives the same bytes.

import FoundationEssentials
package import Planning

extension Plan {
  package func json() throws -> String { try PlanJSON.text(self) }
}

package enum PlanJSON {
  package static func text(_ value: some Encodable) throws -> String {
    let encoder = JSONEncoder()
    encoder.keyEncodingStrategy = .convertToSnakeCase
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    return String(decoding: try encoder.encode(value), as: UTF8.self)
  }

  private static var decoder: JSONDecoder {
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    return decoder
  }

  private static func data(at path: String) throws(PlanError) -> Data {
    guard let text = try? String(contentsOfFile: path, encoding: .utf8) else {
      throw PlanError(
        "\(path) cannot be read; `portcullis plan --validate --directory DIR --output json > \(path)` writes it")
    }
    return Data(text.utf8)
  }

  /// As it is in the file: a decoder names a key that it has converted.
  private static func snakeCase(_ name: String) -> String {
    String(name.flatMap { $0.isUppercase ? ["_", Character($0.lowercased())] : [$0] })
  }

  private struct Holder: Decodable {
    var costs: Costs
  }

  /// Costs as a calibration wrote them: by themselves, or as the field `costs` of a plan or a validation.
  package static func costs(at path: String) throws(PlanError) -> Costs {
    let data = try data(at: path)
    if let costs = try? decoder.decode(Costs.self, from: data) { return costs }
    do {
      return try decoder.decode(Holder.self, from: data).costs
    } catch DecodingError.keyNotFound(let key, let place) where !place.codingPath.isEmpty {
      throw PlanError(
        "\(path) has costs without `\(snakeCase(key.stringValue))`: another version of this program wrote them; "
          + "`portcullis plan --validate --directory DIR --output json` finds all of them")
    } catch {
      throw PlanError(
        "\(path) has no costs: it needs the field `costs` that `portcullis plan --validate --output json` writes")
    }
  }

  /// A report that `plan --validate --output json` wrote.
  package static func report(at path: String) throws(PlanError) -> ValidationReport {
    let data = try data(at: path)
    let report: ValidationReport
    do {
      report = try decoder.decode(ValidationReport.self, from: data)
    } catch {
      throw PlanError("\(path) is no report of `portcullis plan --validate --output json`: \(error)")
    }
    guard report.schema == ValidationReport.currentSchema else {
      throw PlanError(
        "\(path) has the schema \(report.schema), and this program reads \(ValidationReport.currentSchema)")
    }
    return report
  }
}
