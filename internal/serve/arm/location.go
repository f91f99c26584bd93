package arm

import "strings"

// A region is a place where Azure has machines. The house is in all of them, as far
// as it believes what it is told.
type region struct{ name, display, area string }

// regions are those of the public cloud (az account list-locations).
var regions = regionsOf(`
US: East US, East US 2, South Central US, West US 2, West US 3, Central US, North Central US, West US, West Central US
Canada: Canada Central, Canada East
Mexico: Mexico Central
South America: Brazil South, Brazil Southeast, Chile Central
Europe: North Europe, West Europe, Sweden Central, Sweden South, UK South, UK West, France Central, France South, Germany West Central, Germany North, Norway East, Norway West, Switzerland North, Switzerland West, Poland Central, Italy North, Spain Central, Austria East
Asia Pacific: Southeast Asia, East Asia, Australia East, Australia Southeast, Australia Central, Australia Central 2, Japan East, Japan West, Korea Central, Korea South, Central India, South India, West India, Jio India West, Jio India Central, New Zealand North, Malaysia West, Indonesia Central
Middle East: UAE North, UAE Central, Qatar Central, Israel Central
Africa: South Africa North, South Africa West
`)

func regionsOf(text string) []region {
	var all []region
	for line := range strings.Lines(text) {
		area, names, ok := strings.Cut(strings.TrimSpace(line), ": ")
		if !ok {
			continue
		}
		for display := range strings.SplitSeq(names, ", ") {
			all = append(all, region{strings.ToLower(strings.ReplaceAll(display, " ", "")), display, area})
		}
	}
	return all
}

// locationNames are the names of all regions, for people.
var locationNames = func() []string {
	names := make([]string, len(regions))
	for i, r := range regions {
		names[i] = r.display
	}
	return names
}()

type locationBody struct {
	ID                  string           `json:"id"`
	Name                string           `json:"name"`
	Type                string           `json:"type"`
	DisplayName         string           `json:"displayName"`
	RegionalDisplayName string           `json:"regionalDisplayName"`
	Metadata            locationMetadata `json:"metadata"`
}

type locationMetadata struct {
	RegionType     string `json:"regionType"`
	RegionCategory string `json:"regionCategory"`
	GeographyGroup string `json:"geographyGroup"`
}

func listLocations(s *session, r *request) (answer, error) {
	if err := s.reach(r.at); err != nil {
		return answer{}, err
	}
	var rows []row
	for _, g := range regions {
		rows = append(rows, row{g.name, locationBody{
			ID: s.spell(r.at) + "/locations/" + g.name, Name: g.name, Type: "Region", DisplayName: g.display,
			RegionalDisplayName: "(" + g.area + ") " + g.display, Metadata: locationMetadata{"Physical", "Recommended", g.area},
		}})
	}
	return s.page(r, rows)
}
